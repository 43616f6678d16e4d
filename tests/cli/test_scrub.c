/* What a support bundle leaves of a log's line. */
#include "cli/doctor.h"
#include "test.h"

static const struct {
    const char *line, *want;
} lines[] = {
    {"", ""},
    {"plain words stay", "plain words stay"},
    {"row 9: \"Alice Smith\", want 4", "row 9: \"<cut>\", want 4"},
    {"the peer's end, the site's log", "the peer's end, the site's log"},
    {"unknown 'Bob Jones' here", "unknown '<cut>' here"},
    {"cut short: \"Alice", "cut short: \"<cut>\""},
    {"job 202611240930001234560 ended", "job 202611240930001234560 ended"},
    {"card 4111111111111111", "card <cut>"},
    {"phone 555-12345", "phone 555-12345"},
    {"key AKIA9Q8W7E6R5T4Y!", "key <cut>!"},
    {"to bob@example.org", "to <cut>.org"},
    {"hetero_secure_boost_0 at port 9370", "hetero_secure_boost_0 at port 9370"},
    {"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ", "<cut>"},
    {"{\"event\":\"x\",\"job\":\"202611240930001234560\",\"error\":\"id \\\"A7\\\" twice\",\"n\":12}",
     "{\"event\":\"x\",\"job\":\"202611240930001234560\",\"error\":\"id \\\"<cut>\\\" twice\",\"n\":12}"},
    {"{\"event\":\"x\",\"rows\":[1,2],\"deep\":{\"a\":\"b\"}}",
     "{\"event\":\"x\",\"rows\":\"<cut>\",\"deep\":\"<cut>\"}"},
};

static void known(struct ctx *cx)
{
    for (size_t i = 0; i < LEN(lines); i++) {
        const char *got = NULL;
        CHECK_OK(cx, doctor_scrub(cx, lines[i].line, strlen(lines[i].line), &got));
        CHECK(got && strcmp(got, lines[i].want) == 0);
        if (got && strcmp(got, lines[i].want) != 0) printf("# gave %s\n# want %s\n", got, lines[i].want);
    }
}

TEST_MAIN(T(known))
