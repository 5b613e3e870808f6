#define LSTM_TABLE graft_lstm_base
#define LSTM_ISA   "base"
#include "backend/cpu/own/lstm_body.h"
