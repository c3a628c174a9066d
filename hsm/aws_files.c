/* The shared files: profiles with keys, or with a process that gives them. */
#include "hsm/aws_sources.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#define FILE_MAX    (1 << 20)
#define VALUE_MAX   AWS_TOKEN_MAX
#define PROCESS_MS  30000
#define PROCESS_MAX 65536
#define LOOK_MS	    100 /* how often a search looks whether it is to end */

enum status aws_read_file(const char *path, size_t max, char **out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return status_from_errno(errno);
	}
	char *text = malloc(max + 2);
	size_t len = 0;
	ssize_t n = 1;
	while (text != NULL && n > 0 && len <= max) {
		n = read(fd, text + len, max + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	int err = errno;
	close(fd);
	if (text == NULL || n < 0 || len > max) {
		free(text);
		return text == NULL ? ST_ENOMEM : n < 0 ? status_from_errno(err) : ST_ELIMIT;
	}
	text[len] = '\0';
	*out = text;
	return ST_OK;
}

static char *strip(char *text)
{
	text += strspn(text, " \t\r");
	size_t len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL) {
		text[--len] = '\0';
	}
	return text;
}

/* What a profile says, by the names of the files. */
struct profile {
	bool found;
	char key[AWS_KEY_MAX], secret[AWS_SECRET_MAX], token[AWS_TOKEN_MAX];
	char process[1024], region[AWS_REGION_MAX];
	char later[64]; /* a way that is not supported */
};

static void profile_free(struct profile *p)
{
	if (p != NULL) {
		wipe(p, sizeof(*p));
	}
	free(p);
}

static enum status set_value(struct profile *p, const char *name, const char *value)
{
	const struct {
		const char *name;
		char *out;
		size_t room;
	} known[] = {
		{"aws_access_key_id", p->key, sizeof(p->key)},
		{"aws_secret_access_key", p->secret, sizeof(p->secret)},
		{"aws_session_token", p->token, sizeof(p->token)},
		{"credential_process", p->process, sizeof(p->process)},
		{"region", p->region, sizeof(p->region)},
	};
	static const char *const later[] = {"role_arn", "sso_session", "sso_start_url",
					    "credential_source", "web_identity_token_file"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcasecmp(name, known[i].name) == 0) {
			return aws_copy(known[i].out, known[i].room, value);
		}
	}
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		if (strcasecmp(name, later[i]) == 0) {
			snprintf(p->later, sizeof(p->later), "%s", later[i]);
		}
	}
	return ST_OK;
}

/* "[default]", "[name]", and in the configuration file "[profile name]". */
static bool is_section(char *line, const char *wanted)
{
	char *end = strchr(line, ']');
	if (end == NULL) {
		return false;
	}
	*end = '\0';
	char *name = strip(line + 1);
	if (strncmp(name, "profile", 7) == 0 && (name[7] == ' ' || name[7] == '\t')) {
		name = strip(name + 7);
	}
	size_t len = strlen(name);
	if (len >= 2 && name[0] == '"' && name[len - 1] == '"') {
		name[len - 1] = '\0';
		name++;
	}
	return strcmp(name, wanted) == 0;
}

/* What is there already stays. *line_number: where it is malformed. */
static enum status read_profile(char *text, const char *wanted, struct profile *p,
				unsigned *line_number)
{
	bool inside = false;
	char *rest = text;
	char *line;
	*line_number = 0;
	while ((line = strsep(&rest, "\n")) != NULL) {
		++*line_number;
		/* What is indented belongs to the line before: a map that is not for us. */
		if (line[0] == ' ' || line[0] == '\t') {
			continue;
		}
		char *at = strip(line);
		if (at[0] == '\0' || at[0] == '#' || at[0] == ';') {
			continue;
		}
		if (at[0] == '[') {
			inside = is_section(at, wanted);
			p->found |= inside;
			continue;
		}
		if (!inside) {
			continue;
		}
		char *equals = strchr(at, '=');
		if (equals == NULL) {
			return ST_EPARSE;
		}
		*equals = '\0';
		if (set_value(p, strip(at), strip(equals + 1)) != ST_OK) {
			return ST_EPARSE;
		}
	}
	return ST_OK;
}

static const char *profile_name(const char *given)
{
	const char *name = given != NULL ? given : aws_variable("AWS_PROFILE");
	return name != NULL ? name : "default";
}

/* One of the two files, where it is. */
static enum status read_shared(const char *variable, const char *in_home, const char *name,
			       struct profile *p, struct fault *f)
{
	char path[1024];
	char *text = NULL;
	unsigned line;
	const char *given = aws_variable(variable);
	const char *home = aws_variable("HOME");
	if (given == NULL && home == NULL) {
		return ST_OK;
	}
	if (given != NULL) {
		snprintf(path, sizeof(path), "%s", given);
	} else {
		snprintf(path, sizeof(path), "%s/%s", home, in_home);
	}
	enum status st = aws_read_file(path, FILE_MAX, &text);
	if (st == ST_ENOENT) {
		return ST_OK;
	}
	if (st != ST_OK || text == NULL) {
		fault_set(f, FAULT_DEVICE, "%s: %s", path, status_text(st));
		return ST_EFATAL;
	}
	/* Reading it puts ends into it. */
	size_t len = strlen(text);
	st = read_profile(text, name, p, &line);
	if (st != ST_OK) {
		fault_set(f, FAULT_DEVICE, "%s:%u: not NAME = VALUE, or too long", path, line);
		st = ST_EFATAL;
	}
	wipe(text, len);
	free(text);
	return st;
}

/* Until there is something to read of fd, or none is to be waited for any more: then false. */
static bool wait_readable(int fd, int64_t until_ms, const _Atomic(bool) *cancelled)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (!atomic_load(cancelled)) {
		int64_t left_ms = until_ms - clock_mono_ms();
		int ready =
			left_ms > 0 ? poll(&p, 1, left_ms < LOOK_MS ? (int)left_ms : LOOK_MS) : -1;
		if (ready > 0) {
			return true;
		}
		if (left_ms <= 0 || (ready < 0 && errno != EINTR)) {
			return false;
		}
	}
	return false;
}

/* Standard output of a child until its end, and that of the child; false: too much, or too late. */
static bool collect(int fd, pid_t pid, const _Atomic(bool) *cancelled, char *out, size_t *len)
{
	int64_t until_ms = clock_mono_ms() + PROCESS_MS;
	ssize_t n = 1;
	*len = 0;
	while (n > 0 && wait_readable(fd, until_ms, cancelled)) {
		n = read(fd, out + *len, PROCESS_MAX - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	if (n != 0 || *len == PROCESS_MAX) {
		return false;
	}
	/* It may have closed its output and go on. */
	int ended = (int)syscall(SYS_pidfd_open, pid, 0);
	bool whole = ended >= 0 && wait_readable(ended, until_ms, cancelled);
	if (ended >= 0) {
		close(ended);
	}
	return whole;
}

static enum status spawn(char **argv, int *out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0) {
		return status_from_errno(errno);
	}
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	int err = posix_spawnp(pid, argv[0], &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (err != 0) {
		close(fds[0]);
		return status_from_errno(err);
	}
	*out = fds[0];
	return ST_OK;
}

enum status aws_run(const char *command, const _Atomic(bool) *cancelled, char **out,
		    struct fault *f)
{
	wordexp_t words;
	pid_t pid = 0;
	int fd = -1;
	int status = -1;
	size_t len = 0;
	if (wordexp(command, &words, WRDE_NOCMD) != 0 || words.we_wordc == 0) {
		fault_set(f, FAULT_DEVICE,
			  "credential_process: it runs without a shell, and cannot be "
			  "read as a command and its arguments");
		return ST_EFATAL;
	}
	char *text = malloc(PROCESS_MAX + 1);
	enum status st = text != NULL ? spawn(words.we_wordv, &fd, &pid) : ST_ENOMEM;
	if (st == ST_OK && text != NULL) {
		bool whole = collect(fd, pid, cancelled, text, &len);
		close(fd);
		if (!whole) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL); /* where it has left its group */
		}
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		}
		st = whole && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ST_OK : ST_EIO;
	}
	if (st != ST_OK || text == NULL) {
		fault_set(f, FAULT_DEVICE, "credential_process: %s: %s", words.we_wordv[0],
			  st == ST_EIO ? "it failed, took too long, or said too much"
				       : status_text(st));
		if (text != NULL) {
			wipe(text, len);
		}
		free(text);
	} else {
		text[len] = '\0';
		*out = text;
	}
	wordfree(&words);
	return st;
}

static enum status from_process(const struct aws_chain *c, const struct profile *p,
				const char *name, struct aws_credentials *out, struct fault *f)
{
	char *text = NULL;
	enum status st = aws_run(p->process, &c->cancelled, &text, f);
	if (st != ST_OK) {
		return st == ST_ENOMEM ? st : ST_EAGAIN;
	}
	st = aws_read_json(text, strlen(text), "SessionToken", out);
	wipe(text, strlen(text));
	free(text);
	if (st != ST_OK) {
		fault_set(f, FAULT_DEVICE,
			  "credential_process of profile %s: no credentials in what "
			  "it printed",
			  name);
		return ST_EFATAL;
	}
	snprintf(out->source, sizeof(out->source), "profile %.32s's process", name);
	return ST_OK;
}

static enum status from_profile(const struct aws_chain *c, const struct profile *p,
				const char *name, struct aws_credentials *out, struct fault *f)
{
	if (p->key[0] == '\0') {
		if (p->process[0] != '\0') {
			return from_process(c, p, name, out, f);
		}
		if (p->later[0] != '\0') {
			fault_set(f, FAULT_DEVICE, "profile %s: '%s' is not supported", name,
				  p->later);
			return ST_EFATAL;
		}
		return ST_ENOENT;
	}
	if (p->secret[0] == '\0') {
		fault_set(f, FAULT_DEVICE, "profile %s: aws_secret_access_key is missing", name);
		return ST_EFATAL;
	}
	memcpy(out->key, p->key, sizeof(out->key));
	memcpy(out->secret, p->secret, sizeof(out->secret));
	memcpy(out->token, p->token, sizeof(out->token));
	snprintf(out->source, sizeof(out->source), "profile %.32s", name);
	return ST_OK;
}

/* The credentials' file is read first, and what it says of a profile goes before the other's. */
static enum status load(const char *given, struct profile **out, struct fault *f)
{
	const char *name = profile_name(given);
	struct profile *first = calloc(1, sizeof(*first));
	struct profile *second = calloc(1, sizeof(*second));
	enum status st = first != NULL && second != NULL ? ST_OK : ST_ENOMEM;
	if (st == ST_OK) {
		st = read_shared("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name, first, f);
	}
	if (st == ST_OK) {
		st = read_shared("AWS_CONFIG_FILE", ".aws/config", name, second, f);
	}
	if (st == ST_OK && first->key[0] == '\0' && first->process[0] == '\0') {
		bool found = first->found;
		*first = *second;
		first->found |= found;
	}
	if (st == ST_OK && second->region[0] != '\0') {
		memcpy(first->region, second->region, sizeof(first->region));
	}
	profile_free(second);
	if (st != ST_OK) {
		profile_free(first);
		return st;
	}
	*out = first;
	return ST_OK;
}

enum status aws_from_files(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	const char *name = profile_name(c->profile);
	struct profile *p = NULL;
	enum status st = load(c->profile, &p, f);
	if (st != ST_OK) {
		return st;
	}
	st = from_profile(c, p, name, out, f);
	if (st == ST_ENOENT && !p->found &&
	    (c->profile != NULL || aws_variable("AWS_PROFILE") != NULL)) {
		fault_set(f, FAULT_DEVICE, "there is no profile %s in the shared AWS files", name);
		st = ST_EFATAL;
	}
	profile_free(p);
	return st;
}

enum status aws_region(const char *profile, char out[AWS_REGION_MAX])
{
	struct fault f;
	struct profile *p = NULL;
	const char *region = aws_variable("AWS_REGION");
	region = region != NULL ? region : aws_variable("AWS_DEFAULT_REGION");
	if (region != NULL) {
		return aws_copy(out, AWS_REGION_MAX, region) == ST_OK ? ST_OK : ST_ENOENT;
	}
	if (load(profile, &p, &f) != ST_OK) {
		return ST_ENOENT;
	}
	memcpy(out, p->region, AWS_REGION_MAX);
	profile_free(p);
	return out[0] != '\0' ? ST_OK : ST_ENOENT;
}
