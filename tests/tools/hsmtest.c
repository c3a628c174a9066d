#include "tests/tools/hsmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static struct {
	char control[300], log[300];
	unsigned id;
} wrap;

char *temp_make(void)
{
	/* In memory where that can be: tokens are written to with care, and so slowly. */
	char template[64];
	snprintf(template, sizeof(template), "%s/signet-hsm-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(template));
	char *path = strdup(template);
	assert_non_null(path);
	return path;
}

static int remove_entry(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb;
	(void)type;
	(void)ftw;
	return remove(path);
}

void temp_remove(char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(path);
}

const char *temp_path(const char *dir, const char *name)
{
	static char bufs[8][300];
	static unsigned next;
	char *buf = bufs[next++ % 8];
	snprintf(buf, sizeof(bufs[0]), "%s/%s", dir, name);
	return buf;
}

void file_write(const char *path, const char *text)
{
	char temp[400];
	snprintf(temp, sizeof(temp), "%s.new", path);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(rename(temp, path), 0);
}

static pid_t spawn(const char *const *argv, bool group)
{
	pid_t pid;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	if (group) {
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	}
	int err = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(err, 0);
	return pid;
}

int run(const char *const *argv)
{
	int status;
	pid_t pid = spawn(argv, false);
	while (waitpid(pid, &status, 0) < 0) {
		assert_int_equal(errno, EINTR);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

pid_t start(const char *const *argv)
{
	return spawn(argv, true);
}

void softhsm_use(const char *dir)
{
	char text[800];
	const char *conf = temp_path(dir, "softhsm2.conf");
	const char *tokens = temp_path(dir, "tokens");
	assert_int_equal(mkdir(tokens, 0700), 0);
	snprintf(text, sizeof(text),
		 "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n"
		 "slots.removable = false\n",
		 tokens);
	file_write(conf, text);
	setenv("SOFTHSM2_CONF", conf, 1);
}

void softhsm_token(const char *label, const char *pin)
{
	const char *argv[] = {"softhsm2-util", "--init-token", "--free", "--label", label,
			      "--so-pin",      "12345678",     "--pin",	 pin,	    NULL};
	assert_int_equal(run(argv), 0);
}

void wrap_use(const char *dir, const char *module)
{
	snprintf(wrap.control, sizeof(wrap.control), "%s/wrap.control", dir);
	snprintf(wrap.log, sizeof(wrap.log), "%s/wrap.log", dir);
	unlink(wrap.control);
	unlink(wrap.log);
	setenv("P11WRAP_MODULE", module, 1);
	setenv("P11WRAP_CONTROL", wrap.control, 1);
	setenv("P11WRAP_LOG", wrap.log, 1);
}

void wrap_rule(const char *function, const char *action, unsigned long value, long times)
{
	char line[128];
	snprintf(line, sizeof(line), "%s %s 0x%lx %ld %u\n", function, action, value, times,
		 ++wrap.id);
	file_write(wrap.control, line);
}

void wrap_clear(void)
{
	unlink(wrap.control);
}

unsigned wrap_calls(const char *function)
{
	char line[64];
	unsigned count = 0;
	FILE *file = fopen(wrap.log, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		count += strcmp(line, function) == 0;
	}
	if (file != NULL) {
		fclose(file);
	}
	return count;
}

void pause_ms(void)
{
	struct timespec ms = {.tv_nsec = 1000000};
	nanosleep(&ms, NULL);
}

struct one_job {
	struct hsm_job job;
	struct jobs *jobs;
	size_t order;
};

struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	size_t count, done;
	struct one_job *jobs;
};

struct jobs *jobs_new(size_t count)
{
	struct jobs *j = calloc(1, sizeof(*j));
	assert_non_null(j);
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->cond, NULL);
	j->count = count;
	j->jobs = calloc(count, sizeof(*j->jobs));
	assert_non_null(j->jobs);
	for (size_t i = 0; i < count; i++) {
		j->jobs[i].jobs = j;
	}
	return j;
}

void jobs_free(struct jobs *j)
{
	pthread_cond_destroy(&j->cond);
	pthread_mutex_destroy(&j->lock);
	free(j->jobs);
	free(j);
}

struct hsm_job *jobs_at(struct jobs *j, size_t i)
{
	return &j->jobs[i].job;
}

static void job_done(struct hsm_job *job)
{
	struct one_job *one = (struct one_job *)job;
	struct jobs *j = one->jobs;
	pthread_mutex_lock(&j->lock);
	one->order = ++j->done;
	pthread_cond_broadcast(&j->cond);
	pthread_mutex_unlock(&j->lock);
}

enum status jobs_submit(struct jobs *j, size_t i, struct keystore *ks, enum hsm_priority priority,
			struct hsm_key *key)
{
	struct hsm_job *job = &j->jobs[i].job;
	job->key = key;
	job->done = job_done;
	memset(job->digest, (int)(i & 0xff), sizeof(job->digest));
	memcpy(job->digest, &i, sizeof(i));
	return keystore_submit(ks, priority, job);
}

size_t jobs_done(struct jobs *j)
{
	pthread_mutex_lock(&j->lock);
	size_t done = j->done;
	pthread_mutex_unlock(&j->lock);
	return done;
}

void jobs_wait(struct jobs *j, size_t count)
{
	struct timespec until;
	int err = 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&j->lock);
	while (j->done < count && err == 0) {
		err = pthread_cond_timedwait(&j->cond, &j->lock, &until);
	}
	pthread_mutex_unlock(&j->lock);
	assert_int_equal(err, 0);
}

size_t jobs_order(struct jobs *j, size_t i)
{
	pthread_mutex_lock(&j->lock);
	size_t order = j->jobs[i].order;
	pthread_mutex_unlock(&j->lock);
	return order;
}

enum status sign_one(struct keystore *ks, struct hsm_key *key)
{
	struct jobs *j = jobs_new(1);
	assert_int_equal(jobs_submit(j, 0, ks, HSM_QUERY, key), ST_OK);
	jobs_wait(j, 1);
	struct hsm_job *job = jobs_at(j, 0);
	enum status st = job->result;
	if (st == ST_OK) {
		assert_int_equal(hsm_verify(hsm_key_public(key), job->digest, job->signature),
				 ST_OK);
	}
	jobs_free(j);
	return st;
}
