/* component.h - a component: one static record that says all about it, and the task it is run as.
 *
 * The parameter table is the only place that knows a parameter: it validates job configurations at submit, fills
 * defaults, prints help and docs. A component gets a ctx and a task, nothing else: it never sees sockets, the job
 * database or the site's folder. */
#pragma once
#include "base/js.h"
#include "model/model.h"
#include "net/channel.h"
#include "table/table.h"

enum param_type { PARAM_BOOL, PARAM_INT, PARAM_NUM, PARAM_STR, PARAM_LIST, PARAM_MAP, PARAM_ANY };
enum param_state {
    PARAM_BUILT,
    PARAM_UNBUILT,    /* FATE has it, norn not yet: any value but the default is refused by name */
    PARAM_DEPRECATED, /* FATE accepts and ignores it: refused unless default, too, naming what replaces it */
};
struct param {
    const char *path; /* "tree_param.max_depth" */
    enum param_type type;
    bool nullable;       /* null is a value */
    const char *def;     /* default as JSON text: "3", "\"dense\"", "null" */
    const char *choices; /* PARAM_STR: "dense|sparse|tag", compared without case; NULL = free */
    double min, max;     /* PARAM_INT, PARAM_NUM: inclusive bounds; both 0 = none */
    enum param_state state;
    const char *text; /* what it does, one sentence; for PARAM_UNBUILT / DEPRECATED: what to do instead */
};

struct task;
struct component {
    const char *module; /* FATE's name: "HeteroSecureBoost" */
    const char *text;
    const struct param *params;
    size_t n_params;
    const char *const *data_in; /* input.data keys it takes, NULL-terminated; NULL = none */
    const char *const
        *required_in; /* at least one of these keys must be given (and: each list of alternatives "a|b") */
    bool takes_model, gives_data, gives_model;
    /* One function per role; NULL: no task at that role. */
    status (*run[ROLE_COUNT])(struct ctx *cx, struct task *t);
    /* Checks across parameters after each was checked alone; may be NULL. ARG names the parameter, value and bound. */
    status (*check)(struct ctx *cx, const json_t *params);
};
/* NULL: no such module (compared without case, as FATE does). */
const struct component *component_find(const char *module);
const struct component *const *component_all(size_t *n);
/* params: what the job's configuration says for this component (may be NULL). *out: complete, every path present,
 * choices in the table's spelling. ARG: names component, parameter, value and bound; unknown names are refused with the
 * nearest one. Caller owns *out. */
status component_params(struct ctx *cx, const struct component *c, const char *instance, const json_t *params,
                        json_t **out);

/* What a component reports while it runs; implemented by the task process, and by tests. */
struct tracker_ops {
    /* FATE's metric: points (x may be a number or text) under namespace and name, with a meta object. */
    status (*metric)(struct ctx *cx, void *self, const char *name_space, const char *name, const json_t *meta,
                     const json_t *points);
    status (*summary)(struct ctx *cx, void *self, const json_t *summary);
    /* done of all units ("trees", "rows"): percent and time left are made from these. Cheap to call often. */
    void (*progress)(void *self, const char *unit, uint64_t done, uint64_t all);
};

#define TASK_PARTIES_MAX 32
struct task_input {
    const char *key;       /* "train_data" */
    const char *from;      /* "intersection_0.data" */
    const char *component; /* name of the component that made it: "hetero_secure_boost_0" */
    const struct table *table;
};
struct task {
    const char *job, *instance; /* "2026...", "hetero_secure_boost_0" */
    const struct component *component;
    struct party me;
    struct party parties
        [TASK_PARTIES_MAX]; /* all of the job, guests first, then hosts, arbiters; in the conf's order */
    size_t n_parties;
    json_t *params; /* complete */
    struct channel *channel;
    const struct task_input *inputs;
    size_t n_inputs;
    const struct model_part *models; /* input models (input.model or the deployed one), by component */
    size_t n_models;
    const struct tracker_ops *tracker;
    void *tracker_self;
    const char *out_dir; /* fresh folder: output tables go to out_dir/<name>, see task_output_path */
    /* A folder that outlives the task's attempts, for checkpoints (model/steplog.h); removed when the job succeeds. NULL:
     * there is none. */
    const char *checkpoint_dir;
    const char *const *out_data_names; /* what the DSL calls the outputs, by position; NULL-terminated */
    uint64_t seed; /* of this job, the same at every party: for sampling that all must agree on */
    /* Filled by the component: */
    struct model_part *model_out; /* NULL: none */
};
/* Parameter access: the table guarantees presence and type, so these cannot fail. */
bool task_bool(const struct task *t, const char *path);
int64_t task_int(const struct task *t, const char *path);
double task_num(const struct task *t, const char *path);
const char *task_str(const struct task *t, const char *path); /* NULL for null */
const json_t *task_json(const struct task *t, const char *path);
/* NULL: not given. */
const struct table *task_input(const struct task *t, const char *key);
/* The input model part of this component (input.model), NULL: none. */
const struct model_part *task_model(const struct task *t);
/* Where to build the i-th output table. */
status task_output_path(struct ctx *cx, const struct task *t, size_t i, const char **path);
/* The k-th party of a role, and how many there are. */
size_t task_n(const struct task *t, enum role role);
struct party task_party(const struct task *t, enum role role, size_t k);
static inline status task_metric(struct ctx *cx, struct task *t, const char *ns, const char *name,
                                 const json_t *meta, const json_t *points)
{
    return t->tracker->metric(cx, t->tracker_self, ns, name, meta, points);
}
static inline status task_summary(struct ctx *cx, struct task *t, const json_t *s)
{
    return t->tracker->summary(cx, t->tracker_self, s);
}
static inline void task_progress(struct task *t, const char *unit, uint64_t done, uint64_t all)
{
    t->tracker->progress(t->tracker_self, unit, done, all);
}
