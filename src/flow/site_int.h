/* site_int.h - inside the site process. Everything here runs on the loop thread; nothing blocks.
 *
 * request.c  methods and their answers, whoever asks: a peer, the CLI, this site itself; notices that must
 * arrive control.c  the CLI's socket                     job.c      jobs in memory and their records submit.c
 * a new job, checked at all parties    drive.c    the initiator's part: what starts next, how a job ends
 * party.c    what the initiator asks of a party   run.c      task processes
 * retry.c    a component started again after an interruption      recover.c  open jobs after the site's own
 * view.c     jobs as JSON                         why.c      who waits for what
 * keep.c     retention, clean-up, disk            inventory.c, prom.c  what there is, for people and for Prometheus
 * service.c  systemd, the log file, draining      probe.c    round trips and throughput, for the doctor */
#pragma once
#include "flow/api.h"
#include "flow/disk.h"
#include "flow/jobdb.h"
#include "flow/jobid.h"
#include "flow/plan.h"
#include "flow/site.h"
#include "net/pipe.h"
#include "table/store.h"
#include <sys/types.h>

#define REQUEST_MEM   (256u << 20) /* cap of one request's arena */
#define CHECK_MS      10000        /* a party's answer at submit */
#define OPEN_JOBS_MAX 1000
#define GRACE_MS      1000 /* a task that was told to stop is killed then */
#define ERROR_MAX     2000 /* bytes of a task's or job's error text */

enum { SITE_LINKS_MAX = 2 * SETTINGS_PEERS_MAX }; /* the peers, and parties of the default route */
struct site {
    struct ctx *cx; /* the process's: log, arena of what lives as long as the site */
    const char *dir;
    const struct settings *set;
    struct loop *loop;
    struct node *node;
    struct jobdb *db;
    struct store *store;
    struct control *control;
    const struct site_part *http; /* NULL: none */
    void *api;                    /* its self; NULL: it has not started */
    struct job *jobs;             /* open ones, and ended ones whose processes still end */
    struct request *requests;
    struct notice *notices;
    struct job_ids ids;
    struct loop_timer *stop_timer;
    struct down { /* to a peer whose link is down */
        struct site *site;
        uint32_t party;
        struct loop_timer *timer;
    } down[SITE_LINKS_MAX];
    size_t n_down;
    uint64_t stop_at_ms;
    int64_t started_ms;
    bool stopping;
    /* service.c */
    bool draining; /* no new work; stops when the jobs have ended, or at drain_until_ms */
    uint64_t drain_until_ms, drain_told_ms, watchdog_ms;
    struct loop_timer *drain_timer, *watchdog;
    const char *log_file; /* what descriptors 1 and 2 write to; NULL: not a file of ours */
    struct keep *keep;
    uint64_t probe_window_ms, probe_bytes; /* given to doctors of other sites in the present window */
};

/* ---- site.c ---- */
void site_stop(struct site *s, const char *why);

/* ---- service.c ---- */
void service_quiet(void); /* no core dumps */
void service_begin(struct site *s);
void service_end(struct site *s);
void log_file_begin(struct site *s);
void log_file_look(struct site *s);   /* turns it over when it has grown too large */
void log_file_reopen(struct site *s); /* somebody moved it away */
/* Stops once all jobs have ended, at the latest after ms; until then nothing new is taken. 0: now. */
void site_drain(struct site *s, uint64_t ms, const char *why);
size_t jobs_not_ended(const struct site *s);
status site_takes_work(struct ctx *cx,
                       const struct site *s); /* STATE: it stops or drains; LIMIT: see disk_room */

/* ---- keep.c ---- */
struct keep_counts {
    uint64_t removed[KEPT_LOGS + 1]; /* jobs, by enum jobdb_kept */
    uint64_t streams;                /* that belonged to no job */
};
status keep_open(struct ctx *cx, struct site *s);
void keep_free(struct site *s);
void keep_soon(struct site *s);                     /* something may be there to reclaim */
void keep_remove(struct site *s, const char *path); /* in the next round, which comes soon */
struct job;
void keep_save(
    struct job *j); /* its rows could not be stored: again until they are; an ended job stays for it */
const char *keep_name(enum jobdb_kept what);
/* fn is called once the folder has been measured; with NULL when st says why it was not. */
struct request;
void keep_measure(struct request *rq, void (*fn)(struct request *rq, status st, const struct disk_use *use));
const struct disk_use *keep_use(const struct site *s, int64_t *measured_ms, struct keep_counts *counts);
status site_room(struct ctx *cx, const struct site *s); /* LIMIT, as disk_room */

/* ---- request.c ---- */

struct reply {
    enum { REPLY_NOBODY, REPLY_NODE, REPLY_LOCAL, REPLY_CONTROL } kind;
    uint32_t party;
    uint64_t id; /* of the call, or of the control connection */
    node_done done;
    void *arg;
};
struct request {
    struct request *prev, *next;
    struct site *site;
    struct ctx cx; /* its own arena; everything of the request dies with it */
    struct reply reply;
    uint32_t party; /* who asks */
    const char *method;
    json_t *body; /* owned */
    /* answer, until a local one is delivered */
    struct err err;
    json_t *answer;
};
typedef void (*method_fn)(struct request *rq, const json_t *body);
struct method {
    const char *name;
    method_fn fn;
};
extern const struct method peer_methods[], control_methods[]; /* end with a NULL name */
/* Starts handling; takes body. */
void request_begin(struct site *s, const struct reply *to, uint32_t party, const struct method *table,
                   const char *method, json_t *body);
/* Ends it, once: with an answer (taken; NULL = {}) or, when st is not OK, with rq->cx.err. */
void request_end(struct request *rq, status st, json_t *answer);
void requests_free(struct site *s);
/* Asks a site, this one included; done is never called before this returns. body is not consumed. */
void site_call(struct site *s, uint32_t party, const char *method, const json_t *body, uint64_t deadline_ms,
               node_done done, void *arg);
/* Tells a site something, again and again until it has answered. body is not consumed. Notices do not outlive
 * the process: after a restart the sites compare their open jobs as soon as the link is up (party_sync). */
void site_notify(struct site *s, uint32_t party, const char *method, const json_t *body);
void notices_link_up(struct site *s, uint32_t party);
void notices_forget_job(struct site *s, const char *job);
size_t notices_waiting(const struct site *s);
void notices_free(struct site *s);

/* ---- job.c ---- */

struct retry;
struct job_task { /* one component at one party */
    struct job *job;
    size_t component;
    char name[96]; /* "hetero_lr_0.1": component and attempt, as streams call it */
    struct task_row row;
    struct run
        *run; /* its process, when local and running; of an attempt before this one: still being stopped */
    int64_t pushed_ms;    /* progress last told to the initiator */
    bool curable;         /* it failed for a reason that may be gone at the next try */
    bool start_when_gone; /* asked to start while the process of the attempt before is there */
};
struct job {
    struct job *next;
    struct site *site;
    struct arena *mem;
    struct ctx cx;
    struct job_row row;
    struct plan plan;
    struct job_task *tasks; /* every component at every party that runs it, in the DSL's order; only the
                               initiator's site keeps states of tasks that are not local */
    size_t n_tasks;
    size_t refs;          /* calls under way that point here, and task processes */
    size_t n_asked;       /* answers that are still to come: to job.create, later to job.end */
    bool created;         /* all parties have it */
    bool closing, untold; /* all tasks are good: the parties settle; one of them did not answer */
    bool ended;
    struct retry *retries; /* components that wait for their next attempt */
    bool unsaved;          /* the database did not take its rows: keep.c tries again */
    struct loop_timer *timer;
    struct loop_timer *changed; /* watchers are told when it fires */
};
/* Builds a job from its row and texts; not yet in the site's list, nothing stored. Errors are in cx. */
status job_new(struct ctx *cx, struct site *s, const struct job_row *row, json_t *dsl, json_t *conf,
               struct job **out);
status job_room(struct ctx *cx, const struct site *s); /* LIMIT: OPEN_JOBS_MAX are open */
void job_open(struct job *j);                          /* into the site's list; party_end takes it off */
void job_drop(struct job *j);                          /* off again: it could not be stored */
void job_ref(struct job *j);
void job_unref(struct job *j);                        /* frees an ended one at the last */
struct job *job_find(struct site *s, const char *id); /* open ones only; NULL */
struct job *job_find_unsaved(struct site *s,
                             const char *id); /* ended, and the database does not know it yet */
/* Of a job run again: the kept components' tasks as the database has them (STATE when one is not good here),
 * the others stored as waiting. keep: names, may be NULL. */
status job_keep(struct job *j, const json_t *keep);
struct job_task *job_task_find(struct job *j, size_t component, struct party who);
/* Sets states and stores them. error may be NULL. Errors of the database are logged: the job goes on. */
void job_set(struct job *j, enum run_status st, const char *reason);
void task_set(struct job_task *t, enum run_status st, const char *error);
void task_store(struct job_task *t);
status job_save(struct job *j); /* all rows that this site keeps of it, in one transaction */
const char *job_text(struct job *j, const char *s); /* a copy that lives with the job, cut at ERROR_MAX */
void job_changed(struct job *j);                    /* watchers hear of it soon */
const char *job_dir(struct ctx *cx, const struct site *s, const char *job, struct party who);
const char *task_dir(struct ctx *cx, const struct job_task *t);
/* Folders of jobs that the database does not know, outputs of tasks that failed, processes of tasks that outlived a site
 * that was killed. Before jobs_recover, which settles the states that tell them. */
status jobs_sweep(struct site *s);
void jobs_free(struct site *s);

/* ---- drive.c: at the initiator ---- */
void drive_created(struct job *j); /* a party has created the job */
void drive_admit(struct site *s);  /* starts waiting jobs while there is room */
void drive_task_ended(struct job_task *t);
void drive_end(struct job *j, enum run_status st, const char *reason, const struct job_task *failed);
void drive_timer(struct job *j);
void drive_link_down(struct site *s, uint32_t party);
void drive_schedule(struct job *j);                  /* starts what can start, or ends the job */
void drive_start_component(struct job *j, size_t c); /* its waiting tasks, at all parties */
void drive_restart_task(struct job_task *t); /* a task of another site that may not have heard of it */
void job_create_at_parties(struct job *j);   /* submit.c: (again) after a restart */

/* ---- retry.c ----
 * A component whose task failed for a reason that another try can cure is started again at all its parties, at most
 * auto_retries times after auto_retry_delay. Two steps, so that no message of the new attempt meets a party that does not
 * expect it: task.again tells every party (the old attempt is stopped, its streams are forgotten), and when all have
 * answered and the delay is over, task.start. */
/* false: it may not be tried again. why: as the job's reason would be. */
bool retry_component(struct job_task *failed, const char *why);
bool retry_pending(const struct job *j, size_t component);
/* After the initiator's restart between the two steps. */
void retry_go_on(struct job *j, size_t component);
void retry_drop_all(struct job *j); /* the job ends */
bool retry_allowed(const struct job *j, size_t component);
/* The task's next attempt: the old one is stopped (failed: whose task ended it; NULL: nobody's), the row waits. */
void task_again(struct job_task *t, int64_t attempt, const struct job_task *failed, const char *why);
/* "ping_1 waits 1.0 s before try 2 of 3, since ...", NULL: no component of the job does. */
const char *retry_text(struct ctx *cx, const struct job *j, size_t component);

/* ---- recover.c ----
 * At start, in two steps: before the node, what a crash left open is read into memory, tasks that ran have failed; once
 * the node listens, each goes on or ends (initiator), or the initiator is told (other parties). */
status jobs_recover(struct site *s);
void jobs_continue(struct site *s);

/* ---- party.c: at every party ---- */
/* Ends the job here: stops its processes, settles states, stores, reclaims. failed: whose task brought it
 * down. */
void party_end(struct job *j, enum run_status st, const char *reason, const struct job_task *failed);
void party_sync(struct site *s, uint32_t party); /* a link came up: do we agree on what still runs? */
/* Tables and models that the plan wants of this site. own: our own job, names near to a missing one may be
 * told. */
status party_check(struct ctx *cx, struct site *s, const struct plan *p, bool own);
const char *party_of(struct ctx *cx, const struct plan *p, uint32_t site); /* "host 10000" */

/* ---- run.c ---- */
status run_start(struct ctx *cx, struct job_task *t); /* or as soon as the attempt before is gone */
const char *run_checkpoint_dir(struct ctx *cx, const struct job_task *t);
bool run_is_old(const struct job_task *t); /* its process is of an attempt before this one */
void run_push(struct job_task *t);         /* tells the initiator the task's state */
bool run_curable(const char *code);        /* an error of that name may be gone at the next try */
void run_stop(struct job_task *t, const struct job_task *failed,
              const char *why); /* failed NULL: cancelled */
bool run_deliver(struct site *s, const struct message *m);
void run_room(struct site *s, const struct stream_key *k);
bool run_expects(struct site *s, const struct stream_key *k); /* may that party open a stream to that task? */
/* Last lines of a task's log, at most max bytes, "" when none. */
const char *run_log_tail(struct ctx *cx, const struct job_task *t, size_t max);
/* Where the spec's input tables and models come from; run.c and party_check share them. */
status reader_path(struct ctx *cx, struct site *s, const json_t *params, const char **path,
                   const char **from);

/* Puts an end to all task processes, now. */
void jobs_kill(struct site *s);
void run_wait(const struct job_task *t, struct task_wait *out);

/* ---- api.c ---- */
/* As site_part.allow; OK where there is none. */
status api_allow(struct ctx *cx, struct site *s, uint32_t party, const char *module, const char *ns,
                 const char *name);

/* ---- why.c ---- */
const char *why_last_line(struct ctx *cx, const struct job_task *t); /* of its log, for people; "" */
json_t *link_json(const struct link_state *l);
void method_why_here(struct request *rq, const json_t *body);
void method_why(struct request *rq, const json_t *body);

/* ---- control.c ---- */
status control_open(struct ctx *cx, struct site *s, struct control **out);
void control_free(struct control *c);
void control_answer(struct control *c, uint64_t conn, const struct err *err, const json_t *answer);
void control_watch(struct control *c, uint64_t conn, const char *job);
bool control_watched(const struct control *c, const char *job);
void control_event(struct control *c, const char *job, const json_t *event, bool last);

/* ---- inventory.c, prom.c ---- */
int64_t process_memory(int64_t pid); /* resident bytes; 0: it is gone */
void method_inventory(struct request *rq, const json_t *body);
void method_metrics(struct request *rq, const json_t *body);

/* ---- probe.c ---- */
void method_bytes(struct request *rq, const json_t *body); /* of a peer's doctor */
void method_probe(struct request *rq, const json_t *body); /* of ours */

/* ---- view.c ---- */
json_t *view_job_now(struct job *j); /* of a job in memory; NULL: out of memory */

/* ---- methods, by file ---- */
void method_submit(struct request *rq, const json_t *body);
void method_rerun(struct request *rq, const json_t *body);
void method_check(struct request *rq, const json_t *body);
void method_create(struct request *rq, const json_t *body);
void method_done_list(struct request *rq, const json_t *body);
void method_start(struct request *rq, const json_t *body);
void method_again(struct request *rq, const json_t *body);
void method_end(struct request *rq, const json_t *body);
void method_task_status(struct request *rq, const json_t *body);
void method_stop_asked(struct request *rq, const json_t *body);
void method_sync(struct request *rq, const json_t *body);
void method_deploy_here(struct request *rq, const json_t *body);
void method_deploy(struct request *rq, const json_t *body);
