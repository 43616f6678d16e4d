/* driver.c - runs a fuzz target over files, one TAP line for each argument: a file, or a folder of files. The target
 * aborts on a broken law; the file it was at has been said before. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        if (f) fclose(f);
        return -1;
    }
    size_t n = (size_t)st.st_size;
    uint8_t *p = malloc(n ? n : 1); /* exactly n: a sanitizer sees a read past the end */
    int rc = p && fread(p, 1, n, f) == n ? 0 : -1;
    fclose(f);
    if (rc == 0) LLVMFuzzerTestOneInput(p, n);
    free(p);
    return rc;
}

static int run_folder(const char *path, size_t *n)
{
    DIR *d = opendir(path);
    if (!d) return -1;
    int rc = 0;
    char file[4096];
    for (struct dirent *e; rc == 0 && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        printf("# %s\n", e->d_name);
        fflush(stdout);
        rc = run_file(file);
        *n += rc == 0;
    }
    closedir(d);
    return rc;
}

int main(int argc, char **argv)
{
    int bad = 0;
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        size_t n = 0;
        int rc = stat(argv[i], &st);
        if (rc == 0 && S_ISDIR(st.st_mode))
            rc = run_folder(argv[i], &n);
        else if (rc == 0)
            rc = run_file(argv[i]), n = 1;
        if (rc != 0 || n == 0) bad++;
        printf("%s %d - %zu files of %s\n", rc == 0 && n ? "ok" : "not ok", i, n,
               strrchr(argv[i], '/') ?: argv[i]);
    }
    return bad != 0;
}
