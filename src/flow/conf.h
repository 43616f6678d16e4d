/* conf.h - a runtime conf v2: who takes part, what the job's parameters are, and what each party's components
 * are told.
 *
 * component_parameters: common first, then every matching entry of role.<role> in the text's order; entries
 * are keyed by index in role.<role>: "0", "0|1" or "all". Objects merge key by key, other values replace.
 * What FATE drops in silence is refused (unknown job parameters) or warned of (what has no meaning here);
 * `warnings` collects texts. */
#pragma once
#include "base/js.h"
#include "net/channel.h"

#define CONF_PARTIES_MAX 32

enum job_type { JOB_TRAIN, JOB_PREDICT };
struct conf {
    enum job_type type;
    struct party initiator;
    struct party parties[CONF_PARTIES_MAX]; /* guests, hosts, arbiters, local; in the conf's order */
    size_t n_parties;
    const char *model_id, *model_version; /* of a predict job; NULL: none */
    uint64_t timeout_ms;                  /* 0: the site's */
    uint64_t task_parallelism;            /* components of this job at once */
    uint64_t task_cores;                  /* threads of a task; 0: the site's */
    int64_t auto_retries;                 /* of a component; -1: as the initiator's site says */
    int64_t auto_retry_delay_ms;          /* -1: as the initiator's site says */
    const json_t *parameters;             /* component_parameters, borrowed from the conf; may be NULL */
};
/* j must outlive *out. warnings: a JSON array, appended to. ARG, FORMAT, LIMIT name the key. */
status conf_parse(struct ctx *cx, const json_t *j, struct conf *out, json_t *warnings);
bool conf_job_parameter_known(const char *name); /* FATE has one of that name */
/* What this conf says for one component at one party, merged; an empty object when nothing. Caller owns *out.
 */
status conf_component(struct ctx *cx, const struct conf *c, const char *component, struct party who,
                      json_t **out);
/* A party id: an integer, or digits as text. */
bool conf_party_id(const json_t *v, uint32_t *out);
/* The k of role.<role>[k] = id; SIZE_MAX: not in the job. */
size_t conf_index(const struct conf *c, struct party who);
/* Warns of component_parameters that name no component of the list. */
status conf_unused(struct ctx *cx, const struct conf *c, const char *const *components, size_t n,
                   json_t *warnings);
/* A predict job's conf over that of the model's training: every party of the predict job gets what the
 * training's conf said for it, whatever its index there, with the predict conf on top. Caller owns *out. */
status conf_for_predict(struct ctx *cx, const json_t *train, const json_t *predict, json_t **out);
/* "guest-9999#host-10000#model" */
status conf_model_id(struct ctx *cx, const struct conf *c, const char **out);
