/* signetctl's parts. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/control_syntax.h"

/* Answers the command from the state directory. False: it cannot be answered so, and *r is
 * untouched. */
bool ctl_offline(const struct conf *conf, const struct command *cmd, struct reply *r);
