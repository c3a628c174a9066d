/* signetd: the parts in order up, and in reverse order down. */
#include "nsd-core/ask.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/control.h"
#include "nsd-core/log.h"
#include "nsd-core/monitor.h"
#include "nsd-core/notify.h"
#include "nsd-core/notify_systemd.h"
#include "nsd-core/privileges.h"
#include "nsd-core/remotes.h"
#include "nsd-core/tls_keeper.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_CONF "/etc/signet/signet.yaml"

enum { SIGNALS = 3 };

struct server {
	struct conf *conf;
	uv_loop_t loop;
	uv_signal_t signals[SIGNALS];
	int lock; /* -1: none */
	struct workers *workers;
	struct tsig_keys *keys;
	struct asker *asker;
	struct zonemgr *zones;
	struct notifier *notifier;
	struct monitor *monitor;
	struct tls_keeper *tls; /* NULL: no TLS */
	struct control *control;
	bool stopping;
	bool failed;
	int stop_signals; /* SIGTERM and SIGINT so far */
};

struct arguments {
	const char *conf;
	bool check;
};

static void print_usage(FILE *f)
{
	fprintf(f, "usage: signetd [-c FILE] [--check]\n"
		   "       signetd --version | --help\n"
		   "\n"
		   "  -c, --config FILE  the configuration (" DEFAULT_CONF ")\n"
		   "      --check        say every fault in configuration, zones and keystores; "
		   "serve nothing\n"
		   "      --version      say the version\n"
		   "      --help         say this\n");
}

static void print_diags(const struct diags *d)
{
	char text[2048];

	for (size_t i = 0; i < d->count; i++) {
		fprintf(stderr, "%s\n", diag_format(&d->items[i], text, sizeof(text)));
	}
	if (d->errors + d->warnings > d->count) {
		fprintf(stderr, "%zu findings more are not shown\n",
			d->errors + d->warnings - d->count);
	}
}

/* Ends the process for --help, --version and what is neither. */
static void read_arguments(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	*args = (struct arguments){.conf = DEFAULT_CONF};
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			args->conf = optarg;
			break;
		case 'k':
			args->check = true;
			break;
		case 'v':
			printf("signetd %s\n", SIGNET_VERSION);
			exit(0);
		case 'h':
			print_usage(stdout);
			exit(0);
		default:
			print_usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		print_usage(stderr);
		exit(2);
	}
}

static enum status check_tls(const struct conf_server *conf, struct diags *d)
{
	struct tls_context *tls = NULL;
	enum status st = conf->tls_certificate != NULL
				 ? tls_context_new(conf->tls_certificate, conf->tls_key, &tls, d)
				 : ST_OK;

	tls_context_free(tls);
	return st;
}

/* --check */
static int check(const struct conf *conf)
{
	struct diags d;
	struct tsig_keys *keys = NULL;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = remotes_load_keys(conf, &keys, &d);
	tsig_keys_free(keys);
	enum status tls = check_tls(&conf->server, &d);
	st = st == ST_OK ? tls : st;
	enum status zones = zonemgr_check(conf, &d);
	st = st == ST_OK ? zones : st;
	print_diags(&d);
	bool good = st == ST_OK && d.errors == 0;
	if (st != ST_OK && d.errors == 0) {
		fprintf(stderr, "error: %s\n", status_text(st));
	}
	if (good) {
		fprintf(stderr, "%s: zones: %zu, errors: 0, warnings: %zu\n", conf->path,
			conf->zone_count, d.warnings);
	}
	diags_fini(&d);
	return good ? 0 : 1;
}

/* Logs what a step found; false where it failed. */
static bool step(const char *what, enum status st, struct diags *d)
{
	log_diags(d);
	if (st != ST_OK && d->errors == 0) {
		log_error("%s: %s", what, status_text(st));
	}
	diags_fini(d);
	return st == ST_OK;
}

/* From the loop: what was begun is finished after it has ended. */
static void request_stop(void *ctx)
{
	struct server *s = ctx;

	if (!s->stopping) {
		s->stopping = true;
		uv_stop(&s->loop);
	}
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;

	if (number == SIGHUP) {
		log_info("SIGHUP: loading zones again");
		zonemgr_reload_all(s->zones);
		if (s->tls != NULL) {
			tls_keeper_look(s->tls);
		}
		return;
	}
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
	if (++s->stop_signals > 1) {
		log_warn("%s again: ends at once", name);
		_exit(1);
	}
	log_info("%s: stopping", name);
	request_stop(s);
}

/* While the parts are taken down, which may wait for a keystore that hangs: nobody runs the loop
 * then. What is on disk is good at any moment. */
static volatile sig_atomic_t late_stop_signals;

static void on_late_signal(int number)
{
	static const char text[] = "warning: asked to stop again: ends at once\n";

	(void)number;
	if (++late_stop_signals > 1) {
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
		_exit(1);
	}
}

static void watch_late_signals(struct server *s)
{
	const struct sigaction action = {.sa_handler = on_late_signal, .sa_flags = SA_RESTART};

	for (int i = 0; i < SIGNALS; i++) {
		if (s->signals[i].type == UV_SIGNAL) {
			uv_close((uv_handle_t *)&s->signals[i], NULL);
		}
	}
	late_stop_signals = s->stop_signals;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGHUP, SIG_IGN);
}

static void on_loaded(void *ctx)
{
	struct server *s = ctx;
	char listen[512] = "";
	size_t used = 0;

	if (s->stopping) {
		return;
	}
	enum status st = workers_start(s->workers, zonemgr_db(s->zones), zonemgr_signer(s->zones));
	if (st != ST_OK) {
		log_error("workers: %s", status_text(st));
		s->failed = true;
		request_stop(s);
		return;
	}
	for (size_t i = 0; i < s->conf->server.listen_count && used < sizeof(listen); i++) {
		int n = snprintf(listen + used, sizeof(listen) - used, "%s%s", i > 0 ? ", " : "",
				 s->conf->server.listen[i].text);
		used += n > 0 ? (size_t)n : 0;
	}
	notifier_start(s->notifier);
	monitor_start(s->monitor);
	size_t count;
	zonemgr_zones(s->zones, &count);
	log_info("serving %zu %s on %s, %u %s", count, count == 1 ? "zone" : "zones", listen,
		 s->conf->server.workers, s->conf->server.workers == 1 ? "worker" : "workers");
	if (notify_systemd("READY=1") != ST_OK) {
		log_warn("NOTIFY_SOCKET cannot be told that the server is ready");
	}
}

static enum status start_signals(struct server *s)
{
	static const int numbers[SIGNALS] = {SIGHUP, SIGTERM, SIGINT};

	for (int i = 0; i < SIGNALS; i++) {
		int err = uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		if (err == 0) {
			err = uv_signal_start(&s->signals[i], on_signal, numbers[i]);
		}
		if (err != 0) {
			return status_from_errno(-err);
		}
	}
	return ST_OK;
}

static void on_settled(void *ctx, const struct rrset *rs, enum status result)
{
	const struct server *s = ctx;

	workers_settled(s->workers, rs, result);
}

static void on_published(void *ctx, const struct zone *z)
{
	const struct server *s = ctx;

	notifier_published(s->notifier, z);
	monitor_published(s->monitor, z);
}

static void on_acknowledged(void *ctx, const struct zone *z, const struct conf_peer *peer)
{
	const struct server *s = ctx;

	monitor_acknowledged(s->monitor, z, peer);
}

static int64_t safe_until(void *ctx, struct zone *z)
{
	const struct server *s = ctx;
	struct zone_status status;

	zonemgr_status(s->zones, z, &status);
	return status.sign.safe_until != 0 ? status.sign.safe_until : INT64_MAX;
}

static void on_ahead(void *ctx, struct zone *z, uint32_t serial)
{
	const struct server *s = ctx;

	zonemgr_pass_serial(s->zones, z, serial);
}

static enum status start_monitor(struct server *s)
{
	struct monitor_options options = {.loop = &s->loop,
					  .conf = s->conf,
					  .keys = s->keys,
					  .asker = s->asker,
					  .safe_until = safe_until,
					  .ahead = on_ahead,
					  .ctx = s};

	options.zones = zonemgr_zones(s->zones, &options.zone_count);
	return monitor_new(&options, &s->monitor);
}

static enum status start_zones(struct server *s, struct diags *d)
{
	const struct zonemgr_options options = {.conf = s->conf,
						.loop = &s->loop,
						.settled = on_settled,
						.settled_ctx = s,
						.published = on_published,
						.published_ctx = s,
						.asker = s->asker,
						.keys = s->keys};

	return zonemgr_new(&options, &s->zones, d);
}

static enum status start_notifier(struct server *s)
{
	struct notifier_options options = {.loop = &s->loop,
					   .conf = s->conf,
					   .keys = s->keys,
					   .acknowledged = on_acknowledged,
					   .ctx = s};

	options.zones = zonemgr_zones(s->zones, &options.zone_count);
	return notifier_new(&options, &s->notifier);
}

static enum status start_tls(struct server *s, struct diags *d)
{
	struct tls_context *context = workers_tls(s->workers);

	if (context == NULL) {
		return ST_OK;
	}
	/* They were read by the user who started the server. That this one cannot is no reason not
	 * to start. */
	tls_context_try(context, d);
	return tls_keeper_start(&s->loop, context, &s->tls);
}

static enum status start_keys(struct server *s, struct diags *d)
{
	enum status st = remotes_load_keys(s->conf, &s->keys, d);

	if (st == ST_OK) {
		workers_set_remotes(s->workers, s->conf, s->keys);
	}
	return st;
}

/* Everything up to the loop; what it has made is taken down by stop(). */
static bool start(struct server *s)
{
	const struct conf_server *conf = &s->conf->server;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	if (!step("sockets", workers_bind(conf, &s->workers, &d), &d) ||
	    !step("TSIG keys", start_keys(s, &d), &d) ||
	    !step("state", privileges_prepare(conf, &d), &d) ||
	    !step("state", privileges_lock_state(conf, &s->lock, &d), &d) ||
	    !step("privileges", privileges_drop(conf, &d), &d) ||
	    !step("signals", start_signals(s), &d) || !step("TLS", start_tls(s, &d), &d) ||
	    !step("questions", asker_new(&s->loop, conf, &s->asker), &d) ||
	    !step("zones", start_zones(s, &d), &d) ||
	    !step("notifications", start_notifier(s), &d) ||
	    !step("secondaries", start_monitor(s), &d) ||
	    !step("control",
		  control_start(&s->loop, s->conf, s->zones, s->workers, request_stop, s,
				&s->control, &d),
		  &d)) {
		return false;
	}
	control_set_notifier(s->control, s->notifier);
	control_set_monitor(s->control, s->monitor);
	zonemgr_load_all(s->zones, on_loaded, s);
	return true;
}

static void stop(struct server *s)
{
	watch_late_signals(s);
	notify_systemd("STOPPING=1");
	control_stop(s->control);
	notifier_close(s->notifier);
	monitor_close(s->monitor);
	tls_keeper_stop(s->tls);
	if (s->workers != NULL) {
		workers_stop(s->workers);
	}
	if (s->zones != NULL) {
		zonemgr_stop(s->zones);
	}
	asker_close(s->asker);
	workers_free(s->workers);
	/* Every handle is closing by now; this ends when all are closed. */
	uv_run(&s->loop, UV_RUN_DEFAULT);
	notifier_free(s->notifier);
	monitor_free(s->monitor);
	zonemgr_free(s->zones);
	asker_free(s->asker);
	uv_loop_close(&s->loop);
	tsig_keys_free(s->keys);
	rcu_drain();
	if (s->lock >= 0) {
		close(s->lock);
	}
}

static int serve(struct conf *conf)
{
	struct server s = {.conf = conf, .lock = -1};

	log_info("signetd %s", SIGNET_VERSION);
	privileges_raise_files();
	if (uv_loop_init(&s.loop) != 0) {
		log_error("no event loop");
		return 1;
	}
	bool up = start(&s);
	if (up) {
		uv_run(&s.loop, UV_RUN_DEFAULT);
	}
	stop(&s);
	if (up && !s.failed) {
		log_info("stopped");
	}
	return up && !s.failed ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct arguments args;
	struct conf *conf = NULL;
	struct diags d;

	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	read_arguments(argc, argv, &args);
	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read(args.conf, &conf, &d);
	print_diags(&d);
	diags_fini(&d);
	if (st != ST_OK) {
		return 1;
	}
	/* PKCS#11 modules and clients are written to when they may be gone. */
	signal(SIGPIPE, SIG_IGN);
	rcu_thread_register();
	int result = args.check ? check(conf) : serve(conf);
	rcu_thread_unregister();
	conf_free(conf);
	return result;
}
