#include "tests/unit/master_same.h"

#include "nsd-core/base/parallel.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SPACES_50 "                                                  "
#define SPACES	  SPACES_50 SPACES_50 SPACES_50 SPACES_50 SPACES_50 SPACES_50

static void check_text(const char *what, const char *text, size_t len)
{
	static const size_t sizes[] = {1, 2, 5, 16, 61, 257, 1021};
	static const unsigned threads[] = {2, 3, PARALLEL_MAX};
	struct reading_of serial;
	read_text(&serial, text, len, 0, 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct reading_of chunks;
		read_text(&chunks, text, len, sizes[i], threads[i % 3]);
		const char *difference = reading_difference(&serial, &chunks);
		if (difference != NULL) {
			fail_msg("%s, chunks of %zu: %s differs", what, sizes[i], difference);
		}
		reading_fini(&chunks);
	}
	reading_fini(&serial);
}

static void test_texts(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"\n",
		"a",
		"a 1 A 1.1.1.1",
		"a 1 A 1.1.1.1\nb 1 A 1.1.1.1\nc 1 A 1.1.1.1\nd 1 A 1.1.1.1\n",
		/* The state at a chunk's start. */
		"$TTL 5\na A 1.1.1.1\nb A 1.1.1.1\n$TTL 6\nc A 1.1.1.1\nd A 1.1.1.1\n",
		"a 1 A 1.1.1.1\n$ORIGIN s\nb 1 A 1.1.1.1\n$ORIGIN t\nc 1 NS @\n$ORIGIN .\nd 1 NS "
		"e\n"
		"f 1 NS g\n",
		"$ORIGIN x..y\na 1 A 1.1.1.1\n$ORIGIN x y\nb 1 A 1.1.1.1\n$TTL x\nc 1 A 1.1.1.1\n",
		"a 5 A 1.1.1.1\nb A 1.1.1.1\nc 6 A 1.1.1.1\nd A 1.1.1.1\ne A 1.1.1.1\n",
		"@ SOA . . 1 2 3 4 60\nb A 1.1.1.1\nc 6 A 1.1.1.1\nd A 1.1.1.1\ne A 1.1.1.1\n",
		"a A 1.1.1.1\nb A 1.1.1.1\nc 6 A 1.1.1.1\nd A 1.1.1.1\ne A 1.1.1.1\n",
		"a 1 A 1.1.1.1\n 2 A 1.1.1.2\n\n 3 A 1.1.1.3\nb 1 A 1.1.1.1\n 1 A 1.1.1.2\n",
		"..\n 1 A 1.1.1.1\nb 1 A 1.1.1.1\n..x 1 A 1.1.1.1\n 1 A 1.1.1.1\nc 1 A 1.1.1.1\n",
		/* What looks like a line's start and is none. */
		"$TTL 1\na TXT (\nb TXT\nc TXT ) d\ne A 1.1.1.1\n",
		"$TTL 1\na TXT \"x\\\nb A 1.1.1.1\\\n$TTL 7\\\n\"\nc A 1.1.1.1\n",
		"$TTL 1\na TXT (\n$TTL 9\n$ORIGIN s\nx )\nb A 1.1.1.1\nc A 1.1.1.1\n",
		"$TTL 1\na A 1.1.1.1 (\nb A 1.1.1.1\nc A 1.1.1.1\nd A 1.1.1.1\n",
		"$TTL 1\na A 1.1.1.1 )\nb A 1.1.1.1 \"x\nc A 1.1.1.1 \\\nd A 1.1.1.1\n",
		"$TTL 1\n(\n;\n)\na A 1.1.1.1 ; (\nb A 1.1.1.1\n(\n)\n(\nc A 1.1.1.1 )\nd A "
		"1.1.1.1\n",
		"$TTL 1\n\\$TTL A 1.1.1.1\n$ttl 2\n@ A 1.1.1.1\n$\na A 1.1.1.1\n$x\nb A 1.1.1.1\n",
		/* An entry that seems to go on for ever, and directives within one. */
		"$TTL 1\na TXT \"b ( c\\\nb ( c\\\nb ( c\\\n\"\n" SPACES
		"\nd A 1.1.1.1\ne A 1.1.1.1\n" SPACES "\nf A 1.1.1.1\n" SPACES SPACES
		"g TXT (" SPACES "x\n)\nh TXT \"" SPACES "\\\n" SPACES "\"\ni A 1.1.1.1\n",
		"$TTL 1\na TXT (\n$(\n$TTL 2 (\n$ORIGIN s\n) ) )\n$TTL 3 (\n$TTL 4\n)\nb A "
		"1.1.1.1\n$TTL "
		"5 ; (\nc A 1.1.1.1\nd A 1.1.1.1\n",
		/* What is not read ahead. */
		"$TTL 1\na A 1.1.1.1\n$GENERATE 1-3 h$ A 1.1.1.$\n A 1.1.1.4\n$GENERATE 1-2 x A "
		"y\nb "
		"A 1.1.1.1\n",
		"$TTL 1\na A 1.1.1.1\n$INCLUDE x\nb A 1.1.1.1\n$GENERATE 1-90 h$ A 1.1.1.$\nc A "
		"1.1.1.1\n",
		"$TTL 1\na FOO 1.1.1.1\nb A 1.1.1.1\nc A x\nd A 1.1.1.1\ne A\nf A 1.1.1.1\n",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char what[16];
		snprintf(what, sizeof(what), "text %zu", i);
		check_text(what, texts[i], strlen(texts[i]));
	}
}

static char *file_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rbe");
	assert_non_null(f);
	char *text = malloc(1 << 20);
	assert_non_null(text);
	*len = fread(text, 1, 1 << 20, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void check_folder(const char *folder)
{
	char path[1024];
	size_t count = 0;
	const struct dirent *e;
	snprintf(path, sizeof(path), "%s/%s", getenv("SIGNET_SOURCE"), folder);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL) {
		size_t len;
		if (strstr(e->d_name, ".zone") == NULL) {
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s/%s", getenv("SIGNET_SOURCE"), folder,
			 e->d_name);
		char *text = file_read(path, &len);
		check_text(e->d_name, text, len);
		free(text);
		count++;
	}
	closedir(dir);
	assert_true(count > 0);
}

static void test_files(void **state)
{
	(void)state;
	check_folder("tests/functional/zones");
	check_folder("tests/fuzz/corpus/zonefile");
}

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void read_path(struct reading_of *r, const char *path, size_t chunk_bytes, unsigned threads)
{
	static const uint8_t apex[] = "\7example\3com";
	struct master_options opt = {.chunk_bytes = chunk_bytes, .threads = threads};
	content_init(&r->c, apex);
	diags_init(&r->d, DIAGS_LIMIT);
	r->st = master_read(path, &opt, &r->c, &r->d);
}

static void read_file(struct reading_of *r, const char *folder, size_t chunk_bytes)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/main", folder);
	read_path(r, path, chunk_bytes, 2);
}

/* Files that others include are read in chunks as well. */
static void test_include(void **state)
{
	(void)state;
	static const char *const names[] = {"main", "one", "two"};
	char folder[] = "/tmp/test_master_chunks.XXXXXX";
	struct reading_of serial;
	assert_non_null(mkdtemp(folder));
	write_file(folder, "main",
		   "a 1 A 1.1.1.1\nb 1 A 1.1.1.1\n$INCLUDE one s\n 1 A 1.1.1.2\nc 1 A 1.1.1.1\n"
		   "$INCLUDE two\nd A 1.1.1.1\n$INCLUDE main\ne A 1.1.1.1\n$INCLUDE none\n");
	write_file(folder, "one",
		   "a 1 A 1.1.1.1\nb 2 A 1.1.1.1\n$INCLUDE two t\nc 1 A 1.1.1.1\nd 1 A x\n");
	write_file(folder, "two", "$TTL 7\na A 1.1.1.1\nb A 1.1.1.1\nc A 1.1.1.1\n");
	read_file(&serial, folder, 0);
	assert_int_equal(serial.c.file_count, 3);
	assert_int_equal(serial.d.errors, 3);
	for (size_t bytes = 1; bytes < 60; bytes += 7) {
		struct reading_of chunks;
		read_file(&chunks, folder, bytes);
		assert_null(reading_difference(&serial, &chunks));
		reading_fini(&chunks);
	}
	reading_fini(&serial);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(folder), 0);
}

/* The text of a file goes back page by page while the rest is read. Chunks of 100,000 octets, so
 * that some start within an entry that goes on behind one. */
static void check_given_back(const char *text, size_t len)
{
	static const size_t sizes[] = {0, 100000};
	char folder[] = "/tmp/test_master_chunks.XXXXXX";
	char path[128];
	struct reading_of serial;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/long", folder);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fputs("$ORIGIN example.com.\nz TXT (\n", f);
	for (unsigned i = 0; i < 60000; i++) {
		fprintf(f, "z%u A 10.0.0.1\n", i);
		if (i % 2000 == 1999) {
			fputs(")\nz TXT (\n", f);
		}
	}
	fputs(")\nzz A 10.0.0.1\n", f);
	assert_int_equal(fclose(f), 0);
	read_path(&serial, path, 0, 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct reading_of chunks;
		read_path(&chunks, path, sizes[i], 4);
		assert_null(reading_difference(&serial, &chunks));
		reading_fini(&chunks);
	}
	reading_fini(&serial);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* Long enough to be read in chunks unasked, with a fault and directives on the way. */
static void test_long(void **state)
{
	(void)state;
	size_t room = 4 << 20;
	char *text = malloc(room);
	size_t len = 0;
	assert_non_null(text);
	for (unsigned i = 0; len < room - 200; i++) {
		len += (size_t)snprintf(text + len, room - len, "host%u %u A 10.0.%u.%u\n", i,
					i % 7 + 1, i >> 8 & 255, i & 255);
		if (i % 1000 == 0) {
			len += (size_t)snprintf(text + len, room - len, "\tTXT ( x\n\n y ) ; %u\n",
						i);
		}
		if (i % 9001 == 9000) {
			len += (size_t)snprintf(text + len, room - len,
						"$ORIGIN s%u.example.com.\n", i);
		}
		if (i % 50000 == 49999) {
			len += (size_t)snprintf(text + len, room - len, "x A y\n");
		}
	}
	struct reading_of serial;
	struct reading_of chunks;
	read_text(&serial, text, len, 0, 1);
	read_text(&chunks, text, len, 0, 4);
	assert_true(serial.d.errors > 0);
	assert_true(serial.c.record_count > 100000);
	assert_null(reading_difference(&serial, &chunks));
	reading_fini(&serial);
	reading_fini(&chunks);
	check_given_back(text, len);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
