#include "flow/names.h"
#include <string.h>
#include <strings.h>

static size_t min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t same(const char *a, const char *b)
{
    return strncasecmp(a, b, 1) == 0;
}

size_t name_distance(const char *a, const char *b)
{
    size_t row[3][64], n = strlen(a), m = strlen(b);
    if (n > 62 || m > 62) return 1000;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *cur = row[i % 3], *prev = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            cur[j] = min2(prev[j - 1] + !same(a + i - 1, b + j - 1), min2(prev[j], cur[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a + i - 1, b + j - 2) && same(a + i - 2, b + j - 1))
                cur[j] = min2(cur[j], before[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

const char *name_nearest(const char *given, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t limit = strlen(given) / 3 + 1, best_d = limit + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = name_distance(given, known[i]);
        if (d < best_d) best_d = d, best = known[i];
    }
    return best;
}
