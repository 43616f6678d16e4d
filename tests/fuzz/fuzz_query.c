/* The query string of an upload: always an object or a refusal, nothing read outside. */
#include "base/arena.h"
#include "http/query.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx cx = {.mem = arena_new(64u << 20)};
    char *text = arena_strndup(cx.mem, (const char *)data, size);
    json_t *j = NULL;
    if (text && query_settings(&cx, text, &j).code == ERR_OK && !json_is_object(j)) abort();
    json_decref(j);
    arena_free(cx.mem);
    return 0;
}
