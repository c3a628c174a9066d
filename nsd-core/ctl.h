/* signetctl's parts. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/control_syntax.h"

/* Answers the command without a server: from the state directory, and by opening a keystore itself
 * (as server.user, for good). False: it cannot be answered so, and *r is untouched. */
bool ctl_offline(const struct conf *conf, const struct command *cmd, struct reply *r);
/* 'key import', whether a server runs or not. */
void ctl_import(const struct conf *conf, const struct command *cmd, struct reply *r);
