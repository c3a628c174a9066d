/* Asks at a fixed rate and measures how long the answers take.
 *
 * usage: latency [-D] ADDRESS PORT SECONDS NAME:RATE:FILE[:once]...
 *
 * Each class has a name, a rate in questions a second and a file of lines "name type", asked from
 * the first on, and again from the first at the end unless "once" is said. -D: EDNS with DO.
 * All classes are asked at the same time, over UDP (IPv4), by one thread.
 *
 * The loop is open: a question is sent when it is due, whatever became of those before it, so that
 * a server that stops for a while shows it in all the questions that fell into the pause. The time
 * of an answer runs from just before send() to the kernel's receive timestamp: that this program
 * itself was kept from running is not counted into it, but reported as "late".
 *
 * Each SIGUSR1 begins a new phase with counts of its own; a question counts where it was sent.
 * SIGTERM ends early. Prints one JSON object. Histograms have 64 steps for each power of two, so
 * that percentiles are exact to 1.6 %; maxima are exact. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLASSES_MAX	4
#define PHASES_MAX	8
#define SOCKETS		4 /* of a class: workers that share a port get clients by their port */
#define IDS		65536
#define BATCH		64
#define ANSWER_ROOM	4096
#define QUESTION_MAX	288
#define RCODES		16
#define SECOND_NS	INT64_C(1000000000)
#define SLEEP_NS	20000		/* shorter sleeps cost more than the evenness they give */
#define BURST_MAX	256		/* sent before answers are read again */
#define DRAIN_NS	(3 * SECOND_NS) /* a server may answer that it cannot after two */
#define SECONDS_MAX	3600
#define HISTOGRAM_STEPS 64
#define HISTOGRAM_CELLS (HISTOGRAM_STEPS * 36)

struct histogram {
	uint64_t cells[HISTOGRAM_CELLS];
	uint64_t count;
	uint64_t sum_ns, max_ns;
};

struct tally {
	uint64_t sent, answered, send_failed, truncated;
	uint64_t rcodes[RCODES];
	struct histogram answer;
};

/* What waits for its answer under one ID. */
struct waiting {
	int64_t sent_ns; /* CLOCK_REALTIME; 0: nothing waits */
	uint8_t phase;
};

struct asker {
	int fd;
	uint16_t next_id;
	struct waiting waiting[IDS];
};

struct class
{
	char name[32];
	double rate;
	bool once, ended;
	uint8_t *wire;	/* all questions, one after the other */
	uint32_t *ends; /* the octet after each */
	size_t count, next;
	uint64_t due; /* questions that were due up to now are counted from the start */
	struct asker *askers;
	struct tally tallies[PHASES_MAX];
};

struct run {
	struct class classes[CLASSES_MAX];
	size_t count;
	double seconds;
	struct sockaddr_in to;
	bool dnssec;
	unsigned phase;
	double phase_s[PHASES_MAX];
	int64_t phase_began_ns;
	struct histogram late;
};

static volatile sig_atomic_t ended, phases_wanted;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static void on_phase(int sig)
{
	(void)sig;
	phases_wanted = phases_wanted + 1;
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

static unsigned histogram_cell(uint64_t ns)
{
	if (ns < HISTOGRAM_STEPS) {
		return (unsigned)ns;
	}
	unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - 6U;
	unsigned cell = (shift + 1) * HISTOGRAM_STEPS + (unsigned)((ns >> shift) - HISTOGRAM_STEPS);
	return cell < HISTOGRAM_CELLS ? cell : HISTOGRAM_CELLS - 1;
}

static uint64_t histogram_cell_ns(unsigned cell)
{
	if (cell < HISTOGRAM_STEPS) {
		return cell;
	}
	unsigned shift = cell / HISTOGRAM_STEPS - 1;
	return (uint64_t)(cell % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
}

static void histogram_add(struct histogram *h, int64_t ns)
{
	uint64_t value = ns > 0 ? (uint64_t)ns : 0; /* CLOCK_REALTIME may step back */

	h->cells[histogram_cell(value)]++;
	h->count++;
	h->sum_ns += value;
	if (value > h->max_ns) {
		h->max_ns = value;
	}
}

static double histogram_us(const struct histogram *h, double share)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
		below += h->cells[i];
		if (h->cells[i] > 0 && (double)below >= share * (double)h->count) {
			uint64_t ns = histogram_cell_ns(i);
			return (double)(ns < h->max_ns ? ns : h->max_ns) / 1000;
		}
	}
	return 0;
}

static void histogram_print(const struct histogram *h)
{
	printf("{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f,\"max\":%.2f}",
	       h->count > 0 ? (double)h->sum_ns / (double)h->count / 1000 : 0, histogram_us(h, 0.5),
	       histogram_us(h, 0.9), histogram_us(h, 0.99), histogram_us(h, 0.999),
	       (double)h->max_ns / 1000);
}

static uint16_t type_from_text(const char *text)
{
	static const struct {
		const char *text;
		uint16_t type;
	} types[] = {{"A", 1},	  {"NS", 2},	{"SOA", 6}, {"MX", 15},
		     {"TXT", 16}, {"AAAA", 28}, {"DS", 43}, {"DNSKEY", 48}};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (strcasecmp(text, types[i].text) == 0) {
			return types[i].type;
		}
	}
	return 0;
}

static size_t put_u16(uint8_t *out, uint16_t v)
{
	out[0] = (uint8_t)(v >> 8);
	out[1] = (uint8_t)v;
	return 2;
}

/* The question's octets, with ID 0; 0: the line is no name and type of ours. Escapes are not known.
 */
static size_t question_make(const char *name, const char *type, bool dnssec,
			    uint8_t out[QUESTION_MAX])
{
	size_t len = 12;

	memset(out, 0, len);
	out[5] = 1;
	while (*name != '\0') {
		size_t label = strcspn(name, ".");
		if (label == 0 || label > 63 || len + label > 12 + 253) {
			return 0;
		}
		out[len++] = (uint8_t)label;
		memcpy(out + len, name, label);
		len += label;
		name += label + (name[label] == '.');
	}
	out[len++] = 0;
	uint16_t number = type_from_text(type);
	len += put_u16(out + len, number);
	len += put_u16(out + len, 1);
	if (dnssec) {
		static const uint8_t opt[11] = {0, 0,	 41, 1232 >> 8, 1232 & 255, 0,
						0, 0x80, 0,  0,		0};
		out[11] = 1;
		memcpy(out + len, opt, sizeof(opt));
		len += sizeof(opt);
	}
	return number != 0 ? len : 0;
}

static bool class_add(struct class *c, const uint8_t *wire, size_t len)
{
	size_t used = c->count > 0 ? c->ends[c->count - 1] : 0;

	/* Doubled at each power of two. */
	if ((c->count & (c->count - 1)) == 0) {
		size_t room = c->count > 0 ? 2 * c->count : 1;
		uint32_t *ends = realloc(c->ends, room * sizeof(*ends));
		c->ends = ends != NULL ? ends : c->ends;
		uint8_t *all = realloc(c->wire, room * QUESTION_MAX);
		c->wire = all != NULL ? all : c->wire;
		if (ends == NULL || all == NULL || room > UINT32_MAX / QUESTION_MAX) {
			return false;
		}
	}
	memcpy(c->wire + used, wire, len);
	c->ends[c->count++] = (uint32_t)(used + len);
	return true;
}

static bool class_read(struct class *c, const char *path, bool dnssec)
{
	char line[512], name[256], type[16];
	uint8_t wire[QUESTION_MAX];
	FILE *f = fopen(path, "re");
	bool ok = f != NULL;

	while (ok && fgets(line, sizeof(line), f) != NULL) {
		size_t len = sscanf(line, "%255s %15s", name, type) == 2
				     ? question_make(name, type, dnssec, wire)
				     : 0;
		ok = len > 0 && class_add(c, wire, len);
	}
	if (f != NULL) {
		fclose(f);
	}
	return ok && c->count > 0;
}

/* NAME:RATE:FILE[:once] */
static bool class_parse(struct class *c, char *text, bool dnssec)
{
	char *rest = text;
	const char *name = strsep(&rest, ":");
	const char *rate = strsep(&rest, ":");
	const char *path = strsep(&rest, ":");

	if (path == NULL || strlen(name) >= sizeof(c->name) || *name == '\0') {
		return false;
	}
	for (const char *p = name; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && *p != '-') {
			return false;
		}
	}
	memcpy(c->name, name, strlen(name) + 1);
	c->rate = strtod(rate, NULL);
	c->once = rest != NULL && strcmp(rest, "once") == 0;
	return c->rate > 0 && c->rate <= 1e7 && (rest == NULL || c->once) &&
	       class_read(c, path, dnssec);
}

static bool asker_open(struct asker *a, const struct sockaddr_in *to)
{
	int room = 4 << 20;
	int on = 1;

	a->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0) {
		return false;
	}
	(void)setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return setsockopt(a->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) == 0 &&
	       connect(a->fd, (const struct sockaddr *)to, sizeof(*to)) == 0;
}

static bool class_open(struct class *c, const struct sockaddr_in *to)
{
	c->askers = calloc(SOCKETS, sizeof(*c->askers));
	for (size_t i = 0; c->askers != NULL && i < SOCKETS; i++) {
		c->askers[i].fd = -1;
	}
	for (size_t i = 0; c->askers != NULL && i < SOCKETS; i++) {
		if (!asker_open(&c->askers[i], to)) {
			return false;
		}
	}
	return c->askers != NULL;
}

/* An ID that comes round while its question waits takes that question for lost. */
static void class_send(struct class *c, unsigned phase)
{
	struct asker *a = &c->askers[c->next % SOCKETS];
	size_t begin = c->next > 0 ? c->ends[c->next - 1] : 0;
	uint8_t *wire = c->wire + begin;
	struct tally *t = &c->tallies[phase];
	uint16_t id = a->next_id++;

	put_u16(wire, id);
	a->waiting[id] = (struct waiting){now_ns(CLOCK_REALTIME), (uint8_t)phase};
	if (send(a->fd, wire, c->ends[c->next] - begin, 0) < 0) {
		a->waiting[id].sent_ns = 0;
		t->send_failed++;
	}
	t->sent++;
	if (++c->next == c->count) {
		c->next = 0;
		c->ended = c->once;
	}
}

static int64_t class_due_ns(const struct class *c)
{
	return (int64_t)((double)c->due / c->rate * 1e9);
}

/* Sends what is due, 'since_ns' after the start; how long until the next is. */
static int64_t class_ask(struct run *r, struct class *c, int64_t start_ns)
{
	int64_t since_ns = now_ns(CLOCK_MONOTONIC) - start_ns;

	for (unsigned i = 0; i < BURST_MAX && !c->ended && class_due_ns(c) <= since_ns; i++) {
		histogram_add(&r->late, since_ns - class_due_ns(c));
		class_send(c, r->phase);
		c->due++;
		since_ns = now_ns(CLOCK_MONOTONIC) - start_ns;
	}
	return c->ended ? SECOND_NS : class_due_ns(c) - since_ns;
}

/* The kernel's receive time of a datagram. */
static int64_t received_ns(struct msghdr *hdr)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c != NULL; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;
			memcpy(&t, CMSG_DATA(c), sizeof(t));
			return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
		}
	}
	return now_ns(CLOCK_REALTIME);
}

static void class_take(struct class *c, struct asker *a, struct mmsghdr *msg, const uint8_t *data)
{
	if (msg->msg_len < 12 || (data[2] & 0x80) == 0) {
		return;
	}
	struct waiting *w = &a->waiting[data[0] << 8 | data[1]];
	if (w->sent_ns == 0) {
		return;
	}
	struct tally *t = &c->tallies[w->phase];
	histogram_add(&t->answer, received_ns(&msg->msg_hdr) - w->sent_ns);
	t->answered++;
	t->rcodes[data[3] & 15]++;
	t->truncated += (data[2] & 2) != 0;
	w->sent_ns = 0;
}

static void class_receive(struct class *c, struct asker *a)
{
	static uint8_t data[BATCH][ANSWER_ROOM];
	static uint8_t controls[BATCH][CMSG_SPACE(sizeof(struct timespec))];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
	int n;

	do {
		for (unsigned i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){data[i], ANSWER_ROOM};
			msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
							  .msg_iovlen = 1,
							  .msg_control = controls[i],
							  .msg_controllen = sizeof(controls[i])};
		}
		n = recvmmsg(a->fd, msgs, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++) {
			class_take(c, a, &msgs[i], data[i]);
		}
	} while (n == BATCH);
}

static void receive_all(struct run *r)
{
	for (size_t i = 0; i < r->count; i++) {
		for (size_t k = 0; k < SOCKETS; k++) {
			class_receive(&r->classes[i], &r->classes[i].askers[k]);
		}
	}
}

static void phase_end(struct run *r)
{
	int64_t now = now_ns(CLOCK_MONOTONIC);

	r->phase_s[r->phase] = (double)(now - r->phase_began_ns) / 1e9;
	r->phase_began_ns = now;
}

static void sleep_ns(int64_t ns)
{
	struct timespec t = {ns / SECOND_NS, ns % SECOND_NS};

	nanosleep(&t, NULL);
}

static bool all_answered(const struct run *r)
{
	for (size_t i = 0; i < r->count; i++) {
		for (unsigned p = 0; p <= r->phase; p++) {
			const struct tally *t = &r->classes[i].tallies[p];
			if (t->answered + t->send_failed < t->sent) {
				return false;
			}
		}
	}
	return true;
}

static void run_all(struct run *r)
{
	int64_t start_ns = now_ns(CLOCK_MONOTONIC);
	int64_t end_ns = start_ns + (int64_t)(r->seconds * 1e9);

	r->phase_began_ns = start_ns;
	while (!ended && now_ns(CLOCK_MONOTONIC) < end_ns) {
		if ((unsigned)phases_wanted > r->phase && r->phase + 1 < PHASES_MAX) {
			phase_end(r);
			r->phase++;
		}
		int64_t wait_ns = SECOND_NS / 100;
		for (size_t i = 0; i < r->count; i++) {
			int64_t next = class_ask(r, &r->classes[i], start_ns);
			wait_ns = next < wait_ns ? next : wait_ns;
		}
		receive_all(r);
		if (wait_ns > 0) {
			sleep_ns(wait_ns > SLEEP_NS ? wait_ns : SLEEP_NS);
		}
	}
	phase_end(r);
	int64_t drain_end_ns = now_ns(CLOCK_MONOTONIC) + DRAIN_NS;
	while (!all_answered(r) && now_ns(CLOCK_MONOTONIC) < drain_end_ns) {
		sleep_ns(1000000);
		receive_all(r);
	}
}

static void tally_print(const struct class *c, const struct tally *t)
{
	const char *before = "";

	printf("\"%s\":{\"rate\":%.0f,\"sent\":%llu,\"answered\":%llu,\"lost\":%llu,"
	       "\"send_failed\":%llu,\"truncated\":%llu,\"rcodes\":{",
	       c->name, c->rate, (unsigned long long)t->sent, (unsigned long long)t->answered,
	       (unsigned long long)(t->sent - t->answered), (unsigned long long)t->send_failed,
	       (unsigned long long)t->truncated);
	for (unsigned i = 0; i < RCODES; i++) {
		if (t->rcodes[i] > 0) {
			printf("%s\"%u\":%llu", before, i, (unsigned long long)t->rcodes[i]);
			before = ",";
		}
	}
	printf("},\"us\":");
	histogram_print(&t->answer);
	printf("}");
}

static void print_all(const struct run *r)
{
	printf("{\"phases\":[");
	for (unsigned p = 0; p <= r->phase; p++) {
		printf("%s{\"seconds\":%.3f,\"classes\":{", p > 0 ? "," : "", r->phase_s[p]);
		for (size_t i = 0; i < r->count; i++) {
			printf("%s", i > 0 ? "," : "");
			tally_print(&r->classes[i], &r->classes[i].tallies[p]);
		}
		printf("}}");
	}
	printf("],\"late_us\":");
	histogram_print(&r->late);
	printf("}\n");
}

static bool run_parse(struct run *r, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "D")) != -1) {
		if (opt != 'D') {
			return false;
		}
		r->dnssec = true;
	}
	if (argc - optind < 4 || argc - optind - 3 > CLASSES_MAX) {
		return false;
	}
	r->to.sin_family = AF_INET;
	r->to.sin_port = htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
	r->seconds = strtod(argv[optind + 2], NULL);
	if (inet_pton(AF_INET, argv[optind], &r->to.sin_addr) != 1 ||
	    !(r->seconds > 0 && r->seconds <= SECONDS_MAX)) {
		return false;
	}
	for (int i = optind + 3; i < argc; i++) {
		if (!class_parse(&r->classes[r->count++], argv[i], r->dnssec)) {
			fprintf(stderr, "latency: class %d is not NAME:RATE:FILE[:once]\n",
				i - optind - 2);
			return false;
		}
	}
	return true;
}

static void run_free(struct run *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct class *c = &r->classes[i];
		for (size_t k = 0; c->askers != NULL && k < SOCKETS; k++) {
			if (c->askers[k].fd >= 0) {
				close(c->askers[k].fd);
			}
		}
		free(c->askers);
		free(c->wire);
		free(c->ends);
	}
	free(r);
}

int main(int argc, char **argv)
{
	struct run *r = calloc(1, sizeof(*r));
	struct sigaction term = {.sa_handler = on_term};
	struct sigaction phase = {.sa_handler = on_phase};
	int code = 2;

	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGUSR1, &phase, NULL);
	/* Sleeps of tens of microseconds: the usual slack is 50. */
	(void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	if (r == NULL || !run_parse(r, argc, argv)) {
		fprintf(stderr,
			"usage: latency [-D] ADDRESS PORT SECONDS NAME:RATE:FILE[:once]...\n");
		goto out;
	}
	code = 1;
	for (size_t i = 0; i < r->count; i++) {
		if (!class_open(&r->classes[i], &r->to)) {
			perror("latency");
			goto out;
		}
	}
	run_all(r);
	print_all(r);
	code = 0;
out:
	if (r != NULL) {
		run_free(r);
	}
	return code;
}
