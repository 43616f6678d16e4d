#include "flow/privilege.h"
#include "base/arena.h"
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRY_BYTES = 16384 };

status privilege_drop(struct ctx *cx, const char *user, const char *dir)
{
    struct passwd entry, *who = NULL;
    struct stat st;
    char *text = NEW(cx, char, ENTRY_BYTES);
    if (!*user) return OK;
    if (!text) return FAIL(cx, NOMEM, "user %s", user);
    if (getpwnam_r(user, &entry, text, ENTRY_BYTES, &who) || !who)
        return FAIL(cx, ARG, "setting user: this machine has no user %.60s", user);
    if (geteuid() == who->pw_uid && getuid() == who->pw_uid) return OK;
    if (geteuid() != 0)
        return FAIL(cx, STATE,
                    "setting user is %s, and uid %u can become nobody else: start as root or as %s", user,
                    (unsigned)geteuid(), user);
    if (stat(dir, &st)) return FAIL(cx, IO, "%s: %m", dir);
    if (st.st_uid != who->pw_uid)
        return FAIL(cx, STATE, "%s belongs to uid %u, not to %s: chown -R %s %s", dir, (unsigned)st.st_uid,
                    user, user, dir);
    if (initgroups(user, who->pw_gid) || setresgid(who->pw_gid, who->pw_gid, who->pw_gid) ||
        setresuid(who->pw_uid, who->pw_uid, who->pw_uid))
        return FAIL(cx, IO, "become %s: %m", user);
    if (who->pw_uid != 0 && setuid(0) == 0)
        return FAIL(cx, INTERNAL, "became %s, and could become root again", user);
    return OK;
}
