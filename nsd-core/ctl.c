/* signetctl: one command to the server, its answer to people or, with --json, to programs. */
#include "nsd-core/ctl.h"

#include "hsm/hsm.h"
#include "nsd-core/base/text.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_CONF "/etc/signet/signet.yaml"

struct arguments {
	const char *conf;   /* NULL: not given */
	const char *socket; /* NULL: the configuration's */
	bool json;
	const char *words[COMMAND_WORDS_MAX];
	size_t word_count;
	struct command cmd;
};

static void print_usage(FILE *f)
{
	fprintf(f, "usage: signetctl [-c FILE | -s SOCKET] COMMAND [--json]\n"
		   "\n"
		   "  -c, --config FILE    the server's configuration (" DEFAULT_CONF ")\n"
		   "  -s, --socket SOCKET  its control socket, without reading the configuration\n"
		   "      --json           the answer as JSON\n"
		   "      --version        say the version\n"
		   "      --help           say this\n"
		   "\n");
	command_print_help(f);
}

/* What is none is beyond every bound, which is told later. */
static unsigned read_count(const char *text)
{
	uint32_t n;

	return text_to_u32(text, strlen(text), UINT32_MAX, &n) == ST_OK && n > 0 ? n : UINT32_MAX;
}

/* -1: it is none. */
static int64_t read_serial(const char *text)
{
	uint32_t n;

	return text_to_u32(text, strlen(text), UINT32_MAX, &n) == ST_OK ? (int64_t)n : -1;
}

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},  {"socket", required_argument, NULL, 's'},
	{"json", no_argument, NULL, 'j'},	   {"force", no_argument, NULL, 'f'},
	{"now", no_argument, NULL, 'n'},	   {"form", required_argument, NULL, 'F'},
	{"seconds", required_argument, NULL, 'S'}, {"days", required_argument, NULL, 'D'},
	{"serial", required_argument, NULL, 'N'},  {"keystore", required_argument, NULL, 'K'},
	{"role", required_argument, NULL, 'R'},	   {"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},	   {NULL, 0, NULL, 0},
};

/* One that is the command's. False: it is none. */
static bool take_option(int option, struct command *cmd)
{
	switch (option) {
	case 'f':
		cmd->force = true;
		return true;
	case 'n':
		cmd->now = true;
		return true;
	case 'F':
		cmd->form = optarg;
		return true;
	case 'S':
		cmd->seconds = read_count(optarg);
		return true;
	case 'D':
		cmd->days = read_count(optarg);
		return true;
	case 'N':
		cmd->has_serial = true;
		cmd->serial = read_serial(optarg);
		return true;
	case 'K':
		cmd->keystore = optarg;
		return true;
	case 'R':
		cmd->role = optarg;
		return true;
	default:
		return false;
	}
}

/* Ends the process for --help, --version and what cannot be parsed. */
static void read_arguments(int argc, char **argv, struct arguments *a)
{
	int option;

	while ((option = getopt_long(argc, argv, "c:s:h", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->conf = optarg;
			break;
		case 's':
			a->socket = optarg;
			break;
		case 'j':
			a->json = true;
			break;
		case 'v':
			printf("signetctl %s\n", SIGNET_VERSION);
			exit(EXIT_DONE);
		case 'h':
			print_usage(stdout);
			exit(EXIT_DONE);
		default:
			if (!take_option(option, &a->cmd)) {
				print_usage(stderr);
				exit(EXIT_USAGE);
			}
			break;
		}
	}
	for (; optind < argc && a->word_count < COMMAND_WORDS_MAX; optind++) {
		a->words[a->word_count++] = argv[optind];
	}
	if (a->word_count == 0 || optind < argc) {
		print_usage(stderr);
		exit(EXIT_USAGE);
	}
}

static struct conf *read_conf(const char *path)
{
	struct conf *conf = NULL;
	struct diags d;
	char line[1024];

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read(path, &conf, &d);
	/* Warnings are signetd's to say. */
	for (size_t i = 0; st != ST_OK && i < d.count; i++) {
		fprintf(stderr, "%s\n", diag_format(&d.items[i], line, sizeof(line)));
	}
	diags_fini(&d);
	return st == ST_OK ? conf : NULL;
}

/* A descriptor, or -1 with errno. */
static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static bool send_request(FILE *f, const struct arguments *a)
{
	json_t *words = json_array();
	json_t *options = json_object();

	for (size_t i = 0; i < a->word_count; i++) {
		json_array_append_new(words, json_string(a->words[i]));
	}
	if (a->cmd.force) {
		json_object_set_new(options, "force", json_true());
	}
	if (a->cmd.now) {
		json_object_set_new(options, "now", json_true());
	}
	if (a->cmd.seconds != 0) {
		json_object_set_new(options, "seconds", json_integer(a->cmd.seconds));
	}
	if (a->cmd.days != 0) {
		json_object_set_new(options, "days", json_integer(a->cmd.days));
	}
	if (a->cmd.has_serial) {
		json_object_set_new(options, "serial", json_integer(a->cmd.serial));
	}
	if (a->cmd.form != NULL) {
		json_object_set_new(options, "form", json_string(a->cmd.form));
	}
	json_t *root = json_pack("{s:i, s:o, s:o}", "version", CONTROL_VERSION, "command", words,
				 "options", options);
	bool sent = root != NULL && json_dumpf(root, f, JSON_COMPACT) == 0 &&
		    fputc('\n', f) != EOF && fflush(f) == 0;
	json_decref(root);
	return sent;
}

/* How a chunked answer goes out. */
struct output {
	bool json;
	bool begun; /* the JSON object is open, inside its string "text" */
};

/* The text's next piece: as it is, or as a part of one JSON string. */
static void print_chunk(struct output *out, const json_t *chunk)
{
	if (!out->json) {
		fwrite(json_string_value(chunk), 1, json_string_length(chunk), stdout);
		return;
	}
	char *quoted = json_dumps(chunk, JSON_ENCODE_ANY);
	if (quoted == NULL) {
		return;
	}
	if (!out->begun) {
		printf("{\"version\": %d, \"text\": \"", CONTROL_VERSION);
		out->begun = true;
	}
	fwrite(quoted + 1, 1, strlen(quoted) - 2, stdout);
	free(quoted);
}

static void print_json(struct output *out, const json_t *data)
{
	if (!out->begun) {
		json_dumpf(data, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	/* Into the object that the text stands in. */
	const char *key;
	json_t *value;
	putchar('"');
	json_object_foreach((json_t *)(uintptr_t)data, key, value)
	{
		if (strcmp(key, "version") != 0) {
			printf(", \"%s\": ", key);
			json_dumpf(value, stdout, JSON_ENCODE_ANY);
		}
	}
	printf("}\n");
}

/* The answer itself; returns the exit status. */
static int print_reply(struct output *out, const json_t *root)
{
	const char *text = json_string_value(json_object_get(root, "text"));
	const char *error = json_string_value(json_object_get(root, "error"));
	const json_t *notes = json_object_get(root, "notes");
	const json_t *data = json_object_get(root, "data");
	const json_t *code = json_object_get(root, "exit");
	const json_t *note;
	size_t i;

	if (out->json) {
		if (data != NULL) {
			print_json(out, data);
		}
	} else if (text != NULL) {
		fputs(text, stdout);
	}
	if (fflush(stdout) != 0) {
		perror("signetctl");
		return EXIT_FAILED;
	}
	json_array_foreach(notes, i, note)
	{
		fprintf(stderr, "%s\n", json_string_value(note));
	}
	if (error != NULL) {
		fprintf(stderr, "%s\n", error);
	}
	return json_is_integer(code) ? (int)json_integer_value(code) : EXIT_FAILED;
}

/* Lines until the one that is no chunk. */
static int read_answer(FILE *f, struct output *out)
{
	char *line = NULL;
	size_t room = 0;
	int result = -1;
	ssize_t len;

	while (result < 0 && (len = getline(&line, &room, f)) >= 0) {
		json_t *root = json_loadb(line, (size_t)len, 0, NULL);
		if (!json_is_object(root)) {
			json_decref(root);
			break;
		}
		const json_t *chunk = json_object_get(root, "chunk");
		if (json_is_string(chunk)) {
			print_chunk(out, chunk);
		} else {
			result = print_reply(out, root);
		}
		json_decref(root);
	}
	free(line);
	if (result < 0) {
		fprintf(stderr, "signetctl: the server ended the connection\n");
		result = EXIT_FAILED;
	}
	return result;
}

static int ask_server(int fd, const struct arguments *a, bool json)
{
	struct output out = {.json = json};
	FILE *f = fdopen(fd, "r+");

	if (f == NULL) {
		perror("signetctl");
		close(fd);
		return EXIT_FAILED;
	}
	int result = EXIT_FAILED;
	if (send_request(f, a)) {
		result = read_answer(f, &out);
	} else {
		perror("signetctl");
	}
	fclose(f);
	return result;
}

/* A reply made in this process, printed as the server's are. */
static int print_own(const struct reply *r, bool json)
{
	struct output out = {.json = json};
	size_t len = 0;
	char *line = reply_to_line(r, &len);
	json_t *root = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
	int result = EXIT_FAILED;

	if (root != NULL) {
		result = print_reply(&out, root);
	} else {
		fprintf(stderr, "signetctl: %s\n", status_text(ST_ENOMEM));
	}
	json_decref(root);
	free(line);
	return result;
}

static int run_local(const struct arguments *a, const struct conf *conf)
{
	struct reply r;

	reply_init(&r);
	if (conf != NULL) {
		ctl_import(conf, &a->cmd, &r);
	} else {
		reply_fail(&r, EXIT_USAGE, "this needs the configuration (-c), not only a socket");
	}
	int result = print_own(&r, a->json);
	reply_fini(&r);
	return result;
}

static int run(const struct arguments *a, const struct conf *conf)
{
	const char *path = a->socket != NULL ? a->socket : conf->server.control;
	bool json = a->json || (a->cmd.form != NULL && strcmp(a->cmd.form, "json") == 0);
	struct reply r;

	int fd = connect_to(path);
	if (fd >= 0) {
		return ask_server(fd, a, json);
	}
	int err = errno;
	reply_init(&r);
	/* Only where there is no server: one that may not be asked is not answered for. */
	if ((err != ENOENT && err != ECONNREFUSED) || conf == NULL ||
	    !ctl_offline(conf, &a->cmd, &r)) {
		reply_fail(&r, EXIT_FAILED, "%s: the server does not answer: %s", path,
			   strerror(err));
	}
	int result = print_own(&r, json);
	reply_fini(&r);
	return result;
}

int main(int argc, char **argv)
{
	struct arguments a = {.conf = NULL};
	struct reply r;
	struct conf *conf = NULL;

	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	signal(SIGPIPE, SIG_IGN);
	read_arguments(argc, argv, &a);
	reply_init(&r);
	if (!command_parse(a.words, a.word_count, &a.cmd, &r) ||
	    !command_check_options(&a.cmd, &r)) {
		fprintf(stderr, "%s\n", r.error != NULL ? r.error : "usage");
		reply_fini(&r);
		return EXIT_USAGE;
	}
	if (a.socket == NULL) {
		conf = read_conf(a.conf != NULL ? a.conf : DEFAULT_CONF);
		if (conf == NULL) {
			return EXIT_FAILED;
		}
	}
	int result = command_is_local(&a.cmd) ? run_local(&a, conf) : run(&a, conf);
	conf_free(conf);
	return result;
}
