#define LSTM_TABLE graft_lstm_avx2
#define LSTM_ISA   "avx2"
#include "backend/cpu/own/lstm_body.h"
