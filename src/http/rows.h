/* rows.h - FATE's rows of jobs and tasks, made of ours. */
#pragma once
#include "flow/jobdb.h"
