#define LSTM_TABLE graft_lstm_avx512
#define LSTM_ISA   "avx512"
#include "backend/cpu/own/lstm_body.h"
