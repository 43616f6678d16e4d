/* Component Intersection: which rows all parties have, as a table that refers to them by number. */
#include "base/arena.h"
#include "base/log.h"
#include "fed/component.h"
#include "fed/intersection/psi.h"
#include <string.h>
#include <strings.h>

#define HASHES   "sha256|sha384|sha512|sm3"
#define ANY_HASH "none|md5|sha1|sha224|sha256|sha384|sha512|sm3"

static const struct param params[] = {
    {"intersect_method", PARAM_STR, false, "\"ecdh\"", "ecdh|rsa|dh|raw", 0, 0, PARAM_BUILT,
     "how common ids are found; FATE's default is rsa, norn's ecdh"},
    {"ecdh_params.curve", PARAM_STR, false, "\"curve25519\"", "curve25519", 0, 0, PARAM_BUILT, "the group"},
    {"ecdh_params.salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_UNBUILT,
     "norn draws a fresh salt for every job: leave it empty"},
    {"ecdh_params.hash_method", PARAM_STR, false, "\"sha256\"", HASHES, 0, 0, PARAM_UNBUILT,
     "norn hashes ids to the curve by SHA-512: leave the default"},
    {"sync_intersect_ids", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_UNBUILT,
     "hosts always get their common rows"},
    {"only_output_key", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, "output without columns"},
    {"join_method", PARAM_STR, false, "\"inner_join\"", "inner_join|left_join", 0, 0, PARAM_UNBUILT,
     "only inner_join"},
    {"new_sample_id", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, "new ids for joined rows"},
    {"sample_id_generator", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0, PARAM_UNBUILT,
     "who makes new ids"},
    {"run_cache", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT,
     "keep the host's masked ids for later jobs"},
    {"cardinality_only", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, "count only"},
    {"sync_cardinality", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, "tell the host the count"},
    {"cardinality_method", PARAM_STR, false, "\"ecdh\"", "ecdh|rsa|dh", 0, 0, PARAM_UNBUILT, "how to count"},
    {"run_preprocess", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT,
     "Bloom filter before the intersection"},
    {"intersect_preprocess_params.false_positive_rate", PARAM_NUM, false, "0.001", NULL, 0, 0.5,
     PARAM_UNBUILT, "filter"},
    {"intersect_preprocess_params.encrypt_method", PARAM_STR, false, "\"rsa\"", "rsa", 0, 0, PARAM_UNBUILT,
     "filter"},
    {"intersect_preprocess_params.hash_method", PARAM_STR, false, "\"sha256\"", ANY_HASH, 0, 0, PARAM_UNBUILT,
     "filter"},
    {"intersect_preprocess_params.preprocess_method", PARAM_STR, false, "\"sha256\"", ANY_HASH, 0, 0,
     PARAM_UNBUILT, "filter"},
    {"intersect_preprocess_params.preprocess_salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_UNBUILT,
     "filter"},
    {"intersect_preprocess_params.random_state", PARAM_INT, true, "null", NULL, 0, 0, PARAM_UNBUILT,
     "filter"},
    {"intersect_preprocess_params.filter_owner", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0,
     PARAM_UNBUILT, "filter"},
    {"rsa_params.salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_UNBUILT, "for intersect_method rsa"},
    {"rsa_params.hash_method", PARAM_STR, false, "\"sha256\"", HASHES, 0, 0, PARAM_UNBUILT,
     "for intersect_method rsa"},
    {"rsa_params.final_hash_method", PARAM_STR, false, "\"sha256\"", ANY_HASH, 0, 0, PARAM_UNBUILT,
     "for intersect_method rsa"},
    {"rsa_params.split_calculation", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT,
     "for intersect_method rsa"},
    {"rsa_params.random_base_fraction", PARAM_NUM, true, "null", NULL, 0, 0, PARAM_UNBUILT,
     "for intersect_method rsa"},
    {"rsa_params.key_length", PARAM_INT, false, "1024", NULL, 1024, 3072, PARAM_BUILT,
     "bits of the key of rsa: 2048 (also for less) or 3072"},
    {"rsa_params.random_bit", PARAM_INT, false, "128", NULL, 1, 4096, PARAM_UNBUILT,
     "for intersect_method rsa"},
    {"dh_params.salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_UNBUILT, "for intersect_method dh"},
    {"dh_params.hash_method", PARAM_STR, false, "\"sha256\"", ANY_HASH, 0, 0, PARAM_UNBUILT,
     "for intersect_method dh"},
    {"dh_params.key_length", PARAM_INT, false, "2048", NULL, 1024, 16384, PARAM_UNBUILT,
     "for intersect_method dh"},
    /* what FATE 1.11 itself calls deprecated */
    {"random_bit", PARAM_INT, false, "128", NULL, 1, 4096, PARAM_DEPRECATED, "see rsa_params"},
    {"join_role", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0, PARAM_DEPRECATED,
     "has no effect in FATE"},
    {"with_encode", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED, "has no effect in FATE"},
    {"encode_params.salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_DEPRECATED, "has no effect in FATE"},
    {"encode_params.encode_method", PARAM_STR, false, "\"none\"", NULL, 0, 0, PARAM_DEPRECATED,
     "has no effect in FATE"},
    {"encode_params.base64", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED,
     "has no effect in FATE"},
    {"raw_params.use_hash", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED,
     "raw intersection shows ids: use ecdh"},
    {"raw_params.salt", PARAM_STR, false, "\"\"", NULL, 0, 0, PARAM_DEPRECATED,
     "raw intersection shows ids: use ecdh"},
    {"raw_params.hash_method", PARAM_STR, false, "\"none\"", NULL, 0, 0, PARAM_DEPRECATED,
     "raw intersection shows ids: use ecdh"},
    {"raw_params.base64", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED,
     "raw intersection shows ids: use ecdh"},
    {"raw_params.join_role", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0, PARAM_DEPRECATED,
     "raw intersection shows ids: use ecdh"},
    {"intersect_cache_param.use_cache", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED,
     "see run_cache"},
    {"intersect_cache_param.id_type", PARAM_STR, false, "\"phone\"", NULL, 0, 0, PARAM_DEPRECATED,
     "see run_cache"},
    {"intersect_cache_param.encrypt_type", PARAM_STR, false, "\"sha256\"", NULL, 0, 0, PARAM_DEPRECATED,
     "see run_cache"},
    {"repeated_id_process", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED, "ids must be unique"},
    {"repeated_id_owner", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0, PARAM_DEPRECATED,
     "ids must be unique"},
    {"with_sample_id", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED, "see new_sample_id"},
    {"allow_info_share", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_DEPRECATED, "has no effect in FATE"},
    {"info_owner", PARAM_STR, false, "\"guest\"", "guest|host", 0, 0, PARAM_DEPRECATED,
     "has no effect in FATE"},
};

static status check(struct ctx *cx, const json_t *p)
{
    const char *method = json_string_value(json_object_get(p, "intersect_method"));
    if (strcasecmp(method, "ecdh") == 0 || strcasecmp(method, "rsa") == 0) return OK;
    if (strcasecmp(method, "raw") == 0)
        return FAIL(cx, UNSUPPORTED,
                    "intersect_method raw shows ids to the other party (FATE silently runs ecdh for it): "
                    "say ecdh");
    return FAIL(cx, UNSUPPORTED, "intersect_method %s is not built: say ecdh (curve25519, 128 bits) or rsa",
                method);
}

static void on_progress(void *task, uint64_t done, uint64_t all)
{
    task_progress(task, "ids", done, all);
}

/* FATE's metric and summary of an intersection; rates are of the own table's ids. */
static status report(struct ctx *cx, struct task *t, size_t n_own, size_t n_common)
{
    double rate = (double)n_common / (double)n_own;
    CLEANUP(json_decrefp)
    json_t *meta = json_pack("{s:s,s:s,s:s,s:s}", "metric_type", "INTERSECTION", "name", "intersection",
                             "intersect_method", task_str(t, "intersect_method"), "join_method",
                             task_str(t, "join_method"));
    CLEANUP(json_decrefp)
    json_t *points = json_pack("[[s,I],[s,I],[s,f],[s,I],[s,f]]", "input_match_id_count", (json_int_t)n_own,
                               "intersect_count", (json_int_t)n_common, "intersect_rate", rate,
                               "unmatched_count", (json_int_t)(n_own - n_common), "unmatched_rate", 1 - rate);
    CLEANUP(json_decrefp)
    json_t *summary =
        json_pack("{s:b,s:I,s:f,s:I}", "cardinality_only", 0, "intersect_num", (json_int_t)n_common,
                  "intersect_rate", rate, "unique_id_num", (json_int_t)n_own);
    if (!meta || !points || !summary) return FAIL(cx, NOMEM, "intersection metric");
    TRY(task_metric(cx, t, "train", "intersection", meta, points));
    return task_summary(cx, t, summary);
}

static status finish(struct ctx *cx, struct task *t, const struct table *in, const struct psi_result *r,
                     size_t n_peers)
{
    if (r->n == 0) {
        const char *others = "";
        for (size_t i = 0; i < n_peers; i++)
            others = arena_printf(cx->mem, "%s%s%zu", others, i ? ", " : "", r->n_peers[i]);
        return FAIL(cx, ARG,
                    "no common ids: %zu rows here, %s at the other side, none in common; are the id columns "
                    "written alike (case, leading zeros, blanks)?",
                    in->n_rows, others);
    }
    const char *path;
    TRY(task_output_path(cx, t, 0, &path));
    TRY(table_derive(cx, path, in, r->rows, r->n, NULL, in->meta));
    return report(cx, t, in->n_rows, r->n);
}

static bool is_rsa(const struct task *t)
{
    return strcasecmp(task_str(t, "intersect_method"), "rsa") == 0;
}

/* FATE's default of 1024 bits is broken in practice: never less than 2048. */
static int rsa_bits(struct ctx *cx, const struct task *t)
{
    int64_t asked = task_int(t, "rsa_params.key_length");
    if (asked < 2048)
        log_warn(cx, "rsa_params.key_length is below 112 bits of security and was raised", KV("to", 2048));
    return asked <= 2048 ? 2048 : 3072;
}

static status run_guest(struct ctx *cx, struct task *t)
{
    const struct table *in = task_input(t, "data");
    const struct psi_progress progress = {on_progress, t};
    struct party hosts[TASK_PARTIES_MAX];
    struct psi_result r;
    size_t n = task_n(t, ROLE_HOST);
    for (size_t i = 0; i < n; i++)
        hosts[i] = task_party(t, ROLE_HOST, i);
    if (is_rsa(t))
        TRY(psi_rsa_guest(cx, t->channel, rsa_bits(cx, t), hosts, n, in, &progress, &r));
    else
        TRY(psi_ecdh_guest(cx, t->channel, hosts, n, in, &progress, &r));
    return finish(cx, t, in, &r, n);
}

static status run_host(struct ctx *cx, struct task *t)
{
    const struct table *in = task_input(t, "data");
    const struct psi_progress progress = {on_progress, t};
    struct party guest = task_party(t, ROLE_GUEST, 0);
    struct psi_result r;
    if (is_rsa(t))
        TRY(psi_rsa_host(cx, t->channel, rsa_bits(cx, t), guest, in, &progress, &r));
    else
        TRY(psi_ecdh_host(cx, t->channel, guest, in, &progress, &r));
    return finish(cx, t, in, &r, 1);
}

static const char *const data_in[] = {"data", NULL};
extern const struct component component_intersection;
const struct component component_intersection = {
    .module = "Intersection",
    .text = "Finds the rows that all parties have, without showing any party another's ids.",
    .params = params,
    .n_params = LEN(params),
    .data_in = data_in,
    .required_in = data_in,
    .gives_data = true,
    .run = {[ROLE_GUEST] = run_guest, [ROLE_HOST] = run_host},
    .check = check,
};
