/* doctor_machine.c - keys and certificates, disk, databases, memory and limits. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/num.h"
#include "cli/doctor.h"
#include "cli/sub.h"
#include "flow/disk.h"
#include "flow/jobdb.h"
#include "net/pki.h"
#include "net/tls.h"
#include "table/schema_db.h"
#include "table/store.h"
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DAY_MS     86400000
#define SOON_DAYS  30
#define INODES_MIN 1000
#define FILES_MIN  1024

/* ---- keys and certificates ---- */

static void check_key(struct ctx *cx, struct doctor *d)
{
    struct stat st;
    if (stat(d->set.key_file, &st)) {
        doctor_find(d, BAD, "key", arena_printf(cx->mem, "%s: %m", d->set.key_file),
                    "make the site again with norn site init, or restore its keys/");
        return;
    }
    bool open_to_all = (st.st_mode & 077) != 0;
    doctor_find(d, open_to_all ? BAD : GOOD, "key",
                arena_printf(cx->mem, "%s, mode %03o", d->set.key_file, (unsigned)st.st_mode & 0777),
                "chmod 600 it: others on this machine can read it");
}

/* true: it can be used, as far as it says itself. */
static bool check_dates(struct ctx *cx, struct doctor *d)
{
    struct cert_info c;
    if (!file_exists(d->set.cert_file)) {
        doctor_find(d, BAD, "certificate", arena_printf(cx->mem, "%s is not there", d->set.cert_file),
                    "have keys/site.csr signed: norn ca sign, or norn site init --ca");
        return false;
    }
    if (pki_cert_info(cx, d->set.cert_file, &c).code) {
        doctor_find(d, BAD, "certificate", arena_strdup(cx->mem, cx->err.msg),
                    "have keys/site.csr signed again");
        return false;
    }
    int64_t now = wall_ms(), left = c.not_after_ms - now;
    const char *text =
        arena_printf(cx->mem, "party %u, by %s, %" PRId64 " days left", c.party, c.issuer, left / DAY_MS);
    if (c.party != d->set.party)
        doctor_find(d, BAD, "certificate",
                    arena_printf(cx->mem, "is of party %u, the site is party %u", c.party, d->set.party),
                    "have this site's own request signed: keys/site.csr");
    else if (now < c.not_before_ms)
        doctor_find(d, BAD, "certificate", "is not valid yet", "set this machine's clock, or wait");
    else if (left < 0)
        doctor_find(d, BAD, "certificate", "has expired", "have keys/site.csr signed again");
    else
        doctor_find(d, left < SOON_DAYS * (int64_t)DAY_MS ? WARN : GOOD, "certificate", text,
                    "have keys/site.csr signed again soon");
    return c.party == d->set.party && now >= c.not_before_ms && left >= 0;
}

static void check_ca(struct ctx *cx, struct doctor *d)
{
    int64_t until = 0;
    if (!file_exists(d->set.ca_file)) {
        doctor_find(d, BAD, "ca", arena_printf(cx->mem, "%s is not there", d->set.ca_file),
                    "copy the federation's ca.crt there");
        return;
    }
    if (pki_cert_until(cx, d->set.ca_file, &until).code) {
        doctor_find(d, BAD, "ca", arena_strdup(cx->mem, cx->err.msg),
                    "copy the federation's ca.crt there again");
        return;
    }
    int64_t days = (until - wall_ms()) / DAY_MS;
    doctor_find(d,
                until < wall_ms()  ? BAD
                : days < SOON_DAYS ? WARN
                                   : GOOD,
                "ca", arena_printf(cx->mem, "%s, %" PRId64 " days left", d->set.ca_file, days),
                "the federation needs a new CA, and every site a certificate of it");
}

/* Key, certificate and CA together, as the site's own start looks at them. */
static void check_chain(struct ctx *cx, struct doctor *d)
{
    CLEANUP(tls_site_freep) struct tls_site *t = NULL;
    status st = tls_site_new(cx, d->set.party, d->set.key_file, d->set.cert_file, d->set.ca_file, &t);
    doctor_find(d, st.code ? BAD : GOOD, "chain",
                st.code ? arena_strdup(cx->mem, cx->err.msg) : "key, certificate and CA fit together",
                "the certificate must be this key's and signed by this CA: have keys/site.csr signed again");
}

void doctor_keys(struct ctx *cx, struct doctor *d)
{
    check_key(cx, d);
    bool usable = check_dates(cx, d);
    check_ca(cx, d);
    if (usable && file_exists(d->set.ca_file) && file_exists(d->set.key_file)) check_chain(cx, d);
}

/* ---- disk ---- */

static void check_disk(struct ctx *cx, struct doctor *d)
{
    struct disk_use u;
    struct statvfs v;
    if (disk_measure(cx, d->dir, NULL, &u).code) {
        doctor_find(d, BAD, "disk", arena_strdup(cx->mem, cx->err.msg), NULL);
        return;
    }
    const char *quota = d->set.disk_quota ? arena_printf(cx->mem, " of disk_quota %s",
                                                         sub_bytes(cx, (int64_t)d->set.disk_quota))
                                          : "";
    const char *text = arena_printf(cx->mem, "%s in %s%s, %s free", sub_bytes(cx, (int64_t)u.total), d->dir,
                                    quota, sub_bytes(cx, (int64_t)u.free));
    const char *remedy =
        "free space: old jobs' tables lie in jobs/, uploads in store/; see keep_jobs, keep_outputs";
    if (disk_room(cx, d->dir, &d->set, u.total).code)
        doctor_find(d, BAD, "disk", arena_strdup(cx->mem, cx->err.msg), remedy);
    else {
        bool nearly = u.free < (1u << 30) || u.free < 2 * d->set.disk_min_free ||
                      (d->set.disk_quota && u.total > d->set.disk_quota / 10 * 9);
        doctor_find(d, nearly ? WARN : GOOD, "disk", text, remedy);
    }
    if (statvfs(d->dir, &v) == 0 && v.f_files && v.f_favail < INODES_MIN)
        doctor_find(d, WARN, "inodes", arena_printf(cx->mem, "%" PRIu64 " left", (uint64_t)v.f_favail),
                    "remove old jobs");
    if (!d->running && u.files[DISK_TEMPORARY])
        doctor_find(d, WARN, "left-overs",
                    arena_printf(cx->mem, "%" PRIu64 " half-written files, %s", u.files[DISK_TEMPORARY],
                                 sub_bytes(cx, (int64_t)u.bytes[DISK_TEMPORARY])),
                    "the site's next start removes them");
}

/* ---- databases ---- */

static void check_file(struct ctx *cx, struct doctor *d, const char *what, const char *name,
                       const char *remedy)
{
    const char *file = arena_printf(cx->mem, "%s/%s", d->dir, name), *says;
    if (!file || !file_exists(file)) {
        doctor_find(d, GOOD, what, "none yet", NULL);
        return;
    }
    if (schema_db_check(cx, file, &says).code)
        doctor_find(d, BAD, what, arena_strdup(cx->mem, cx->err.msg), remedy);
    else
        doctor_find(d, strcmp(says, "ok") == 0 ? GOOD : BAD, what,
                    arena_printf(cx->mem, "%s: %s", name, says), remedy);
}

static void check_tables(struct ctx *cx, struct doctor *d)
{
    struct store *s;
    struct table_info *t;
    size_t n = 0, lost = 0;
    if (store_open(cx, d->dir, &s).code || store_list(cx, s, &t, &n).code) {
        doctor_find(d, BAD, "tables", arena_strdup(cx->mem, cx->err.msg),
                    "restore store/catalogue.db from a backup");
        return;
    }
    for (size_t i = 0; i < n; i++)
        lost += !file_exists(t[i].path);
    doctor_find(d, lost ? BAD : GOOD, "tables",
                arena_printf(cx->mem, "%zu tables, %zu without their files", n, lost),
                "upload those tables again: norn table list shows them");
}

static void check_databases(struct ctx *cx, struct doctor *d)
{
    check_file(cx, d, "job database", "jobs.db",
               "restore jobs.db from a backup, or move it away: jobs' records are lost then");
    check_file(cx, d, "catalogue", "store/catalogue.db", "restore store/catalogue.db from a backup");
    if (file_exists(arena_printf(cx->mem, "%s/store/catalogue.db", d->dir))) check_tables(cx, d);
}

/* ---- limits ---- */

/* The soft limit of open files of a process; 0: unknown. */
static uint64_t files_limit(struct ctx *cx, int64_t pid)
{
    static const char label[] = "Max open files";
    struct bytes text;
    uint64_t n = 0;
    if (file_read(cx, arena_printf(cx->mem, "/proc/%" PRId64 "/limits", pid), 1 << 16, &text).code) return 0;
    const char *p = strstr((const char *)text.p, label);
    if (!p) return 0;
    p += sizeof label - 1;
    p += strspn(p, " ");
    return num_parse_u64(p, strcspn(p, " "), &n) ? n : UINT64_MAX; /* "unlimited" */
}

/* The container's limit; UINT64_MAX: none. */
static uint64_t cgroup_memory(struct ctx *cx)
{
    struct bytes text;
    uint64_t n;
    if (file_read(cx, "/sys/fs/cgroup/memory.max", 64, &text).code) return UINT64_MAX;
    return num_parse_u64((const char *)text.p, strcspn((const char *)text.p, "\n"), &n) ? n : UINT64_MAX;
}

static void check_limits(struct ctx *cx, struct doctor *d)
{
    uint64_t files = files_limit(cx, d->running ? d->pid : getpid());
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
             most = cgroup_memory(cx);
    uint64_t task = d->set.task_memory ? d->set.task_memory : memory / 4 * 3;
    doctor_find(d, files < FILES_MIN ? WARN : GOOD, "files",
                arena_printf(cx->mem, "%" PRIu64 " open files allowed to the %s", files,
                             d->running ? "site" : "processes started here"),
                "raise it: ulimit -n 65536, or LimitNOFILE of the service");
    if (most < memory) memory = most;
    doctor_find(d, task > memory ? WARN : GOOD, "memory",
                arena_printf(cx->mem, "%s%s, %ld processors; a task may take %s",
                             sub_bytes(cx, (int64_t)memory), most == memory ? " (the container's)" : "",
                             sysconf(_SC_NPROCESSORS_ONLN), sub_bytes(cx, (int64_t)task)),
                "set task_memory lower: the kernel ends processes when memory is over");
}

static void check_user(struct ctx *cx, struct doctor *d)
{
    struct stat st;
    if (stat(d->dir, &st)) return;
    if (*d->set.user == 0) {
        bool root = st.st_uid == 0;
        doctor_find(d, root ? WARN : GOOD, "user",
                    arena_printf(cx->mem, "the folder is uid %u's", (unsigned)st.st_uid),
                    "a site needs no root: chown -R the folder to a user of its own and set user = NAME");
        return;
    }
    struct passwd entry, *who = NULL;
    char text[4096];
    bool known = getpwnam_r(d->set.user, &entry, text, sizeof text, &who) == 0 && who;
    bool owns = known && who->pw_uid == st.st_uid;
    doctor_find(d, owns ? GOOD : BAD, "user",
                arena_printf(cx->mem, "%s%s", d->set.user,
                             !known  ? ": this machine has no such user"
                             : !owns ? " does not own the folder"
                                     : ""),
                "set user to whom the folder belongs, or chown -R the folder");
}

void doctor_machine(struct ctx *cx, struct doctor *d)
{
    check_disk(cx, d);
    check_databases(cx, d);
    check_limits(cx, d);
    check_user(cx, d);
}
