/* Runs a fuzz target over every file of the folders named: the corpora as regression tests. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1U << 20)

static int replay_file(const char *dir, const char *name, uint8_t *buf)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		return -1;
	}
	size_t len = fread(buf, 1, INPUT_MAX, f);
	fclose(f);
	/* An exact copy, so that a sanitizer sees a read past the end. */
	uint8_t *exact = malloc(len == 0 ? 1 : len);
	if (exact == NULL) {
		return -1;
	}
	for (size_t i = 0; i < len; i++) {
		exact[i] = buf[i];
	}
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_MAX];
	unsigned count = 0;
	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		if (dir == NULL) {
			perror(argv[i]);
			return 1;
		}
		for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
			if (e->d_name[0] == '.') {
				continue;
			}
			if (replay_file(argv[i], e->d_name, buf) != 0) {
				closedir(dir);
				return 1;
			}
			count++;
		}
		closedir(dir);
	}
	printf("%u inputs replayed\n", count);
	return count == 0;
}
