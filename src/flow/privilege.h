/* privilege.h - from root to the site's user, for good. */
#pragma once
#include "base/ctx.h"

/* user: a name, or "" for whoever we are. Groups, then ids: real, effective and saved. Nothing happens when we are that user.
 * ARG: there is no such user; STATE: we are neither root nor that user, or the folder is not theirs. */
status privilege_drop(struct ctx *cx, const char *user, const char *dir);
