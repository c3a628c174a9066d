/* What it costs to load a zone, step by step.
 *
 * usage: bench_load [--json] [--apex NAME] [--names N] [--shuffled] [--reload] [FILE]
 *
 * Reads the master file, sorts and checks its records, builds a version, frees the records, and
 * frees the version. With --reload the file is read again, with the first version served meanwhile.
 * Without FILE a zone of N names (1000 unless said) is written to a temporary file: hosts with an
 * A, every second an AAAA, every tenth a delegation with glue. Prints wall-clock and CPU time of
 * each step (of all threads), what is resident after it and the most there was during it. */
#include "zones/content.h"
#include "zones/draft.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MAX 100000000
#define STEPS_MAX 24

struct options {
	bool json;
	bool shuffled;
	bool reload;
	size_t names;
	const char *apex;
	const char *path;
};

struct step {
	const char *what;
	double wall_ms;
	double cpu_ms;
	double resident_mb;
	double peak_mb;
};

struct bench {
	struct step steps[STEPS_MAX];
	size_t count;
	int64_t wall_ns; /* at the start of the step */
	int64_t cpu_ns;
	size_t read_records;
	size_t records;
	size_t names;
	bool has_peaks;
	double start_mb;
};

static void check(enum status st, const char *what)
{
	if (st != ST_OK) {
		fprintf(stderr, "bench_load: %s: %s\n", what, status_text(st));
		exit(1);
	}
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A field of /proc/self/status that is in kB, in MB. */
static double status_mb(const char *field)
{
	char line[256];
	unsigned long kb = 0;
	FILE *f = fopen("/proc/self/status", "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0) {
			kb = strtoul(line + strlen(field), NULL, 10);
		}
	}
	if (f != NULL) {
		fclose(f);
	}
	return (double)kb / 1024;
}

/* Forgets the peak so far (proc(5), clear_refs); where the kernel refuses, peaks are since the
 * start. */
static bool forget_peak(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "we");
	if (f == NULL) {
		return false;
	}
	bool written = fputs("5", f) >= 0;
	return fclose(f) == 0 && written;
}

static void step_start(struct bench *b)
{
	b->has_peaks = forget_peak();
	b->wall_ns = clock_ns(CLOCK_MONOTONIC);
	b->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void step_end(struct bench *b, const char *what)
{
	int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b->cpu_ns;
	int64_t wall_ns = clock_ns(CLOCK_MONOTONIC) - b->wall_ns;
	if (b->count == STEPS_MAX) {
		return;
	}
	b->steps[b->count++] = (struct step){
		.what = what,
		.wall_ms = (double)wall_ns / 1e6,
		.cpu_ms = (double)cpu_ns / 1e6,
		.resident_mb = status_mb("VmRSS:"),
		.peak_mb = status_mb("VmHWM:"),
	};
	step_start(b);
}

static void put_host(FILE *f, size_t i)
{
	fprintf(f, "host%07zu A 10.%zu.%zu.%zu\n", i, i >> 16 & 255, i >> 8 & 255, i & 255);
	if (i % 2 == 0) {
		fprintf(f, "host%07zu AAAA 2001:db8::%zx:%zx\n", i, i >> 16 & 65535, i & 65535);
	}
	if (i % 10 == 0) {
		fprintf(f, "cut%07zu NS ns.cut%07zu\nns.cut%07zu A 192.0.2.9\n", i, i, i);
	}
}

/* Any step that has no divisor in common with the count goes through all numbers once. */
static size_t stride(const struct options *opt)
{
	size_t step = opt->shuffled ? opt->names / 2 * 2 / 3 + 1 : 1;
	for (;; step++) {
		size_t a = opt->names;
		size_t b = step;
		while (b != 0) {
			size_t rest = a % b;
			a = b;
			b = rest;
		}
		if (a == 1) {
			return step;
		}
	}
}

static void write_zone(const struct options *opt, const char *path)
{
	FILE *f = fopen(path, "we");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	fprintf(f,
		"$ORIGIN %s\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n"
		"ns1 A 192.0.2.1\n",
		opt->apex);
	size_t step = stride(opt);
	for (size_t i = 0, at = 0; i < opt->names; i++, at = (at + step) % opt->names) {
		put_host(f, at);
	}
	if (fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

static void read_file(struct bench *b, const char *path, struct content *c,
		      const struct version *known)
{
	const struct master_options opt = {.known = known};
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	enum status st = master_read(path, &opt, c, &d);
	step_end(b, "read");
	b->read_records = c->record_count;
	if (st == ST_OK) {
		st = content_sort(c);
		step_end(b, "sort");
	}
	if (st == ST_OK) {
		st = content_check(c, &(struct check_options){0}, &d);
		step_end(b, "check");
	}
	for (size_t i = 0; i < d.count && st != ST_OK; i++) {
		char line[512];
		fprintf(stderr, "%s\n", diag_format(&d.items[i], line, sizeof(line)));
	}
	diags_fini(&d);
	check(st, path);
}

/* The file's version, made from 'base' or from nothing. */
static struct version *load(struct bench *b, const char *path, const uint8_t *apex,
			    struct version *base)
{
	struct content c;
	struct draft *d;
	struct version *v = base;
	content_init(&c, apex);
	step_start(b);
	read_file(b, path, &c, base);
	check(draft_new(apex, base, &d), "draft_new");
	check(draft_apply(d, &c, false), "draft_apply");
	step_end(b, "apply");
	check(draft_settle(d), "draft_settle");
	step_end(b, "settle");
	content_fini(&c);
	step_end(b, "free records");
	if (base == NULL) {
		check(draft_freeze(d, &(struct freeze){0}, &v), "draft_freeze");
	} else if (draft_changed(d)) {
		fprintf(stderr, "bench_load: the same file changed something\n");
		exit(1);
	}
	draft_free(d);
	step_end(b, "freeze");
	b->records = v->record_count;
	b->names = v->name_count;
	return v;
}

static void add_total(struct bench *b, size_t first, const char *what)
{
	struct step total = {.what = what};
	for (size_t i = first; i < b->count; i++) {
		const struct step *s = &b->steps[i];
		total.wall_ms += s->wall_ms;
		total.cpu_ms += s->cpu_ms;
		total.resident_mb = s->resident_mb;
		total.peak_mb = s->peak_mb > total.peak_mb ? s->peak_mb : total.peak_mb;
	}
	if (b->count < STEPS_MAX) {
		b->steps[b->count++] = total;
	}
}

static void print_table(const struct bench *b, double octets)
{
	printf("%zu names, %zu records read, %zu served, %.1f resident octets a record%s\n",
	       b->names, b->read_records, b->records, octets,
	       b->has_peaks ? "" : " (peaks are since the start)");
	printf("%-14s %10s %10s %10s %12s %10s\n", "step", "wall, ms", "CPU, ms", "CPU ns/rec",
	       "resident, MB", "peak, MB");
	for (size_t i = 0; i < b->count; i++) {
		const struct step *s = &b->steps[i];
		printf("%-14s %10.1f %10.1f %10.1f %12.1f %10.1f\n", s->what, s->wall_ms, s->cpu_ms,
		       s->cpu_ms * 1e6 / (double)b->read_records, s->resident_mb, s->peak_mb);
	}
}

static void print_json(const struct bench *b, double octets)
{
	printf("{\"names\": %zu, \"records_read\": %zu, \"records\": %zu, "
	       "\"octets_per_record\": %.1f, \"peaks_per_step\": %s, \"steps\": [",
	       b->names, b->read_records, b->records, octets, b->has_peaks ? "true" : "false");
	for (size_t i = 0; i < b->count; i++) {
		const struct step *s = &b->steps[i];
		printf("%s{\"step\": \"%s\", \"wall_ms\": %.3f, \"cpu_ms\": %.3f, "
		       "\"resident_mb\": %.1f, \"peak_mb\": %.1f}",
		       i == 0 ? "" : ", ", s->what, s->wall_ms, s->cpu_ms, s->resident_mb,
		       s->peak_mb);
	}
	printf("]}\n");
}

static void run(const struct options *opt, const char *path)
{
	struct bench b = {0};
	uint8_t apex[NAME_MAX_LEN];
	size_t len;
	check(name_from_text(opt->apex, strlen(opt->apex), NULL, apex, &len, NULL), opt->apex);
	b.start_mb = status_mb("VmRSS:");
	struct version *v = load(&b, path, apex, NULL);
	double octets = (status_mb("VmRSS:") - b.start_mb) * 1048576 / (double)b.records;
	add_total(&b, 0, "load");
	if (opt->reload) {
		size_t first = b.count;
		v = load(&b, path, apex, v);
		add_total(&b, first, "reload");
	}
	step_start(&b);
	version_unref(v);
	step_end(&b, "free version");
	if (opt->json) {
		print_json(&b, octets);
	} else {
		print_table(&b, octets);
	}
}

static bool parse(int argc, char **argv, struct options *opt)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			opt->json = true;
		} else if (strcmp(argv[i], "--shuffled") == 0) {
			opt->shuffled = true;
		} else if (strcmp(argv[i], "--reload") == 0) {
			opt->reload = true;
		} else if (strcmp(argv[i], "--names") == 0 && i + 1 < argc) {
			opt->names = (size_t)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--apex") == 0 && i + 1 < argc) {
			opt->apex = argv[++i];
		} else if (argv[i][0] != '-' && opt->path == NULL) {
			opt->path = argv[i];
		} else {
			return false;
		}
	}
	return opt->names > 0 && opt->names <= NAMES_MAX;
}

int main(int argc, char **argv)
{
	struct options opt = {.names = 1000, .apex = "bench.test."};
	char made[] = "/tmp/bench_load.XXXXXX";
	if (!parse(argc, argv, &opt)) {
		fprintf(stderr, "usage: bench_load [--json] [--apex NAME] [--names N] [--shuffled] "
				"[--reload] [FILE]\n");
		return 2;
	}
	if (opt.path != NULL) {
		run(&opt, opt.path);
		return 0;
	}
	int fd = mkstemp(made);
	if (fd < 0) {
		perror(made);
		return 1;
	}
	close(fd);
	write_zone(&opt, made);
	run(&opt, made);
	unlink(made);
	return 0;
}
