/* A PKCS #11 module that forwards to a real one and misbehaves on request: for tests of what heals.
 *
 *   P11WRAP_MODULE   the real module
 *   P11WRAP_CONTROL  a file, read on each call: lines "FUNCTION ACTION VALUE TIMES ID"
 *   P11WRAP_LOG      a file that gets a line "FUNCTION" for each call
 *
 * Where several keystores have the module, each names its own control file in its init-args; the
 * log is FILE.log then.
 *
 * ACTION: rv     return VALUE without forwarding
 *         hold   wait, before forwarding, until the line is gone
 *         delay  wait for VALUE ms before forwarding
 *         crash  abort the process
 *         limit  C_OpenSession: CKR_SESSION_COUNT while VALUE sessions are open
 *         short  C_Sign: leave out the first octet
 *         der    C_Sign: re-encode as DER
 *         wrong  C_Sign: spoil the signature
 *         forget C_SignInit: log out, and have the next C_Login return VALUE, uncounted
 *         long   C_Sign: claim more octets than there was room for
 * A line works for TIMES calls (-1: for ever), counted per ID over all processes (in the file
 * P11WRAP_CONTROL.used); a new ID counts from the start. */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ecdsa.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define IDS_MAX	      4096
#define VALUE_LEN     32 /* r or s of P-256 */
#define SIGNATURE_LEN (2 * VALUE_LEN)

struct rule {
	char action[16];
	unsigned long value;
	long times;
	unsigned id;
};

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST wrapped;
/* From the init-args; empty: as the environment says. Set while nobody else is in the module. */
static char own_control[400];
static _Atomic(unsigned long) open_sessions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *control_path(void)
{
	return own_control[0] != '\0' ? own_control : getenv("P11WRAP_CONTROL");
}

/* How often each rule worked, shared by all processes that have the module. */
static _Atomic(long) *used_map(void)
{
	static _Atomic(long) *map;
	char path[410];
	const char *control = control_path();
	size_t len = IDS_MAX * sizeof(*map);
	if (map != NULL || control == NULL) {
		return map;
	}
	snprintf(path, sizeof(path), "%s.used", control);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)len) != 0) {
		abort();
	}
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		abort();
	}
	close(fd);
	map = at;
	return map;
}

/* Is one of the rule's times left? Takes it. */
static bool take_one(const struct rule *rule)
{
	_Atomic(long) *used = &used_map()[rule->id];
	if (rule->times < 0) {
		return true;
	}
	long before = atomic_load(used);
	while (before < rule->times) {
		if (atomic_compare_exchange_weak(used, &before, before + 1)) {
			return true;
		}
	}
	return false;
}

static void log_call(const char *function)
{
	const char *path = getenv("P11WRAP_LOG");
	char own[410];
	char line[64];
	if (own_control[0] != '\0') {
		snprintf(own, sizeof(own), "%s.log", own_control);
		path = own;
	}
	if (path == NULL) {
		return;
	}
	int len = snprintf(line, sizeof(line), "%s\n", function);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0) {
		if (write(fd, line, (size_t)len) != len) {
			abort();
		}
		close(fd);
	}
}

/* "FUNCTION ACTION VALUE TIMES ID", the numbers as strtol() reads them. */
static bool rule_parse(char *line, const char *function, struct rule *out)
{
	char *words[5];
	char *rest = NULL;
	for (size_t i = 0; i < 5; i++) {
		words[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest);
		if (words[i] == NULL) {
			return false;
		}
	}
	snprintf(out->action, sizeof(out->action), "%s", words[1]);
	out->value = strtoul(words[2], NULL, 0);
	out->times = strtol(words[3], NULL, 10);
	out->id = (unsigned)strtoul(words[4], NULL, 10);
	return strcmp(words[0], function) == 0 && out->id < IDS_MAX;
}

static bool rule_line(const char *function, struct rule *out)
{
	char line[128];
	bool found = false;
	const char *path = control_path();
	FILE *file = path != NULL ? fopen(path, "re") : NULL;
	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		found = rule_parse(line, function, out);
	}
	if (file != NULL) {
		fclose(file);
	}
	return found;
}

static void wait_ms(unsigned long ms)
{
	struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

/* The rule for this call; action is empty where there is none. */
static struct rule rule_take(const char *function)
{
	struct rule rule = {0};
	log_call(function);
	pthread_mutex_lock(&lock);
	if (!rule_line(function, &rule) || !take_one(&rule)) {
		rule.action[0] = '\0';
	}
	pthread_mutex_unlock(&lock);
	while (strcmp(rule.action, "hold") == 0) {
		struct rule now = {0};
		if (!rule_line(function, &now) || now.id != rule.id) {
			rule.action[0] = '\0';
		}
		wait_ms(1);
	}
	if (strcmp(rule.action, "delay") == 0) {
		wait_ms(rule.value);
	} else if (strcmp(rule.action, "crash") == 0) {
		abort();
	}
	return rule;
}

#define FORWARD(function, parameters, arguments)                                                   \
	static CK_RV wrap_##function parameters                                                    \
	{                                                                                          \
		struct rule rule = rule_take("C_" #function);                                      \
		return strcmp(rule.action, "rv") == 0 ? rule.value : real->C_##function arguments; \
	}

/* The init-args are for this module, not for the real one. */
static CK_RV wrap_Initialize(void *init_args)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	if (init_args != NULL) {
		memcpy(&args, init_args, sizeof(args));
	}
	if (args.pReserved != NULL) {
		snprintf(own_control, sizeof(own_control), "%s", (const char *)args.pReserved);
		args.pReserved = NULL;
	}
	struct rule rule = rule_take("C_Initialize");
	return strcmp(rule.action, "rv") == 0 ? rule.value : real->C_Initialize(&args);
}

static CK_RV wrap_Finalize(void *reserved)
{
	struct rule rule = rule_take("C_Finalize");
	atomic_store(&open_sessions, 0);
	return strcmp(rule.action, "rv") == 0 ? rule.value : real->C_Finalize(reserved);
}

FORWARD(GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count),
	(present, slots, count))

static CK_RV wrap_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
			      CK_SESSION_HANDLE *session)
{
	struct rule rule = rule_take("C_OpenSession");
	if (strcmp(rule.action, "rv") == 0) {
		return rule.value;
	}
	if (strcmp(rule.action, "limit") == 0 && atomic_load(&open_sessions) >= rule.value) {
		return CKR_SESSION_COUNT;
	}
	CK_RV rv = real->C_OpenSession(slot, flags, app, notify, session);
	if (rv == CKR_OK) {
		atomic_fetch_add(&open_sessions, 1);
	}
	return rv;
}

static CK_RV wrap_CloseSession(CK_SESSION_HANDLE session)
{
	CK_RV rv = real->C_CloseSession(session);
	if (rv == CKR_OK) {
		atomic_fetch_sub(&open_sessions, 1);
	}
	return rv;
}

static CK_RV wrap_CloseAllSessions(CK_SLOT_ID slot)
{
	atomic_store(&open_sessions, 0);
	return real->C_CloseAllSessions(slot);
}

FORWARD(GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
FORWARD(FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *wanted, CK_ULONG count),
	(session, wanted, count))
FORWARD(GenerateKeyPair,
	(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *pub, CK_ULONG pub_count,
	 CK_ATTRIBUTE *priv, CK_ULONG priv_count, CK_OBJECT_HANDLE *pub_out,
	 CK_OBJECT_HANDLE *priv_out),
	(session, mechanism, pub, pub_count, priv, priv_count, pub_out, priv_out))

/* What C_Login says next; 0: what the module does. */
static _Atomic(CK_RV) login_says;

static CK_RV wrap_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin,
			CK_ULONG len)
{
	struct rule rule = rule_take("C_Login");
	CK_RV says = atomic_exchange(&login_says, CKR_OK);
	if (says != CKR_OK || strcmp(rule.action, "rv") == 0) {
		return says != CKR_OK ? says : rule.value;
	}
	return real->C_Login(session, user, pin, len);
}

static CK_RV wrap_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct rule rule = rule_take("C_SignInit");
	if (strcmp(rule.action, "forget") == 0) {
		(void)real->C_Logout(session);
		atomic_store(&login_says, rule.value);
		return CKR_USER_NOT_LOGGED_IN;
	}
	return strcmp(rule.action, "rv") == 0 ? rule.value
					      : real->C_SignInit(session, mechanism, key);
}

/* As a DER SEQUENCE of two INTEGERs; its length. */
static CK_ULONG to_der(CK_BYTE *sig)
{
	ECDSA_SIG *values = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, VALUE_LEN, NULL);
	BIGNUM *s = BN_bin2bn(sig + VALUE_LEN, VALUE_LEN, NULL);
	if (values == NULL || ECDSA_SIG_set0(values, r, s) != 1) {
		abort();
	}
	int len = i2d_ECDSA_SIG(values, &sig);
	ECDSA_SIG_free(values);
	return (CK_ULONG)len;
}

static CK_RV wrap_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *sig,
		       CK_ULONG *sig_len)
{
	struct rule rule = rule_take("C_Sign");
	if (strcmp(rule.action, "rv") == 0) {
		/* The operation ends as it would have. */
		(void)real->C_Sign(session, data, len, sig, sig_len);
		return rule.value;
	}
	CK_RV rv = real->C_Sign(session, data, len, sig, sig_len);
	if (rv != CKR_OK || sig == NULL || *sig_len != SIGNATURE_LEN) {
		return rv;
	}
	if (strcmp(rule.action, "short") == 0) {
		memmove(sig, sig + 1, SIGNATURE_LEN - 1);
		*sig_len = SIGNATURE_LEN - 1;
	} else if (strcmp(rule.action, "der") == 0) {
		*sig_len = to_der(sig);
	} else if (strcmp(rule.action, "wrong") == 0) {
		sig[SIGNATURE_LEN - 1] ^= 1;
	} else if (strcmp(rule.action, "long") == 0) {
		*sig_len = 1UL << 20;
	}
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	const char *path = getenv("P11WRAP_MODULE");
	CK_C_GetFunctionList get;
	pthread_mutex_lock(&lock);
	if (real == NULL && path != NULL) {
		void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
		memcpy(&get, &symbol, sizeof(get));
		if (symbol != NULL && get(&real) == CKR_OK) {
			wrapped = *real;
			wrapped.C_Initialize = wrap_Initialize;
			wrapped.C_Finalize = wrap_Finalize;
			wrapped.C_GetSlotList = wrap_GetSlotList;
			wrapped.C_OpenSession = wrap_OpenSession;
			wrapped.C_CloseSession = wrap_CloseSession;
			wrapped.C_CloseAllSessions = wrap_CloseAllSessions;
			wrapped.C_Login = wrap_Login;
			wrapped.C_GetSessionInfo = wrap_GetSessionInfo;
			wrapped.C_FindObjectsInit = wrap_FindObjectsInit;
			wrapped.C_GenerateKeyPair = wrap_GenerateKeyPair;
			wrapped.C_SignInit = wrap_SignInit;
			wrapped.C_Sign = wrap_Sign;
		}
	}
	pthread_mutex_unlock(&lock);
	if (real == NULL) {
		return CKR_GENERAL_ERROR;
	}
	*list = &wrapped;
	return CKR_OK;
}
