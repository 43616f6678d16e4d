/* Nearest names, and job ids. */
#include "flow/jobid.h"
#include "flow/names.h"
#include "test.h"
#include <string.h>

static void distances(struct ctx *cx)
{
    (void)cx;
    static const struct {
        const char *a, *b;
        size_t want;
    } v[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"ABC", "abc", 0},
        {"max_depht", "max_depth", 1}, /* swapped */
        {"num_tree", "num_trees", 1},
        {"kitten", "sitting", 3},
        {"ab", "ba", 1},
    };
    for (size_t i = 0; i < LEN(v); i++) {
        CHECK(name_distance(v[i].a, v[i].b) == v[i].want);
        CHECK(name_distance(v[i].b, v[i].a) == v[i].want);
    }
}

static void nearest(struct ctx *cx)
{
    (void)cx;
    const char *const known[] = {"Reader", "DataTransform", "Intersection", "HeteroSecureBoost"};
    CHECK(strcmp(name_nearest("HeteroSecureBost", known, LEN(known)), "HeteroSecureBoost") == 0);
    CHECK(strcmp(name_nearest("reader", known, LEN(known)), "Reader") == 0);
    CHECK(name_nearest("Nope", known, LEN(known)) == NULL);
    CHECK(name_nearest("x", known, 0) == NULL);
}

static void ids(struct ctx *cx)
{
    (void)cx;
    struct job_ids g = {0};
    char last[JOB_ID_MAX + 1] = "", id[JOB_ID_MAX + 1];
    for (int i = 0; i < 10000; i++) {
        job_id_next(&g, id);
        CHECK(job_id_ok(id));
        CHECK(strlen(id) == 21 && strcmp(last, id) < 0);
        memcpy(last, id, sizeof id);
    }
    CHECK(!job_id_ok("") && !job_id_ok("../../../../etc/passwd12") && !job_id_ok("12345678901234567890") &&
          !job_id_ok("12345678901234567890123456"));
}

TEST_MAIN(T(distances), T(nearest), T(ids))
