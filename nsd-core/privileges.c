#include "nsd-core/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define LEAK_CHECKER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAK_CHECKER 1
#endif
#endif

/* uid and gid of the user to become; -1 where it stays who it is. */
static enum status find_user(const struct conf_server *conf, uid_t *uid, gid_t *gid,
			     struct diags *d)
{
	struct passwd entry;
	struct passwd *found = NULL;
	char buf[4096];

	if (conf->user == NULL || geteuid() != 0) {
		*uid = (uid_t)-1;
		*gid = (gid_t)-1;
		return ST_OK;
	}
	int err = getpwnam_r(conf->user, &entry, buf, sizeof(buf), &found);
	if (found == NULL) {
		diags_error(d, "user %s: %s", conf->user, err != 0 ? strerror(err) : "unknown");
		return ST_ENOENT;
	}
	*uid = entry.pw_uid;
	*gid = entry.pw_gid;
	return ST_OK;
}

/* Makes a folder and those above it. made: the last of them is new. */
static int make_folders(char *path, mode_t mode, bool *made)
{
	*made = false;
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int failed = mkdir(path, 0755);
		*slash = '/';
		if (failed != 0 && errno != EEXIST) {
			return -1;
		}
	}
	if (mkdir(path, mode) == 0) {
		*made = true;
		return 0;
	}
	return errno == EEXIST ? 0 : -1;
}

static enum status failed(const char *what, const char *path, struct diags *d)
{
	enum status st = status_from_errno(errno);

	diags_error(d, "%s %s: %s", what, path, strerror(errno));
	return st;
}

static enum status prepare_folder(const char *what, char *path, mode_t mode, bool take,
				  const struct conf_server *conf, struct diags *d)
{
	uid_t uid;
	gid_t gid;
	bool made;
	enum status st = find_user(conf, &uid, &gid, d);

	if (st != ST_OK) {
		return st;
	}
	if (make_folders(path, mode, &made) != 0) {
		return failed(what, path, d);
	}
	/* A folder that was there and belongs to others (/run, /tmp) is left to them. */
	if (uid != (uid_t)-1 && (made || take) && chown(path, uid, gid) != 0) {
		return failed(what, path, d);
	}
	return ST_OK;
}

enum status privileges_prepare(const struct conf_server *conf, struct diags *d)
{
	char *control = strdup(conf->control);
	char *state = strdup(conf->state);
	enum status st = ST_ENOMEM;

	if (control == NULL || state == NULL) {
		goto out;
	}
	st = prepare_folder("state directory", state, 0700, true, conf, d);
	if (st == ST_OK) {
		st = prepare_folder("folder of the control socket", dirname(control), 0755, false,
				    conf, d);
	}
out:
	free(control);
	free(state);
	return st;
}

enum status privileges_lock_state(const struct conf_server *conf, int *out, struct diags *d)
{
	char *path = NULL;
	uid_t uid;
	gid_t gid;
	int fd = -1;
	enum status st = find_user(conf, &uid, &gid, d);

	if (st != ST_OK) {
		return st;
	}
	if (asprintf(&path, "%s/lock", conf->state) < 0) {
		return ST_ENOMEM;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (uid != (uid_t)-1 && fchown(fd, uid, gid) != 0)) {
		st = failed("lock", path, d);
		goto out;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		st = errno == EWOULDBLOCK ? ST_EBUSY : status_from_errno(errno);
		diags_error(d, "state directory %s: %s", conf->state,
			    st == ST_EBUSY ? "another server uses it" : strerror(errno));
		goto out;
	}
	*out = fd;
	fd = -1;
out:
	if (fd >= 0) {
		close(fd);
	}
	free(path);
	return st;
}

enum status privileges_drop(const struct conf_server *conf, struct diags *d)
{
	uid_t uid;
	gid_t gid;
	enum status st = find_user(conf, &uid, &gid, d);

	if (st != ST_OK) {
		return st;
	}
	if (uid != (uid_t)-1 && (initgroups(conf->user, gid) != 0 ||
				 setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)) {
		return failed("user", conf->user, d);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		return failed("prctl", "no_new_privs", d);
	}
#ifndef LEAK_CHECKER
	/* The leak checker at the end must be able to look into its own process. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		return failed("prctl", "dumpable", d);
	}
#endif
	return ST_OK;
}

void privileges_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		/* Where it fails the limit stays, and connections above it are refused. */
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}
