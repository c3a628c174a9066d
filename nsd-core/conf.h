/* The configuration: signet.yaml(5), read with libyaml by one schema table (conf_schema.c). */
#pragma once

#include "nsd-core/base/name.h"
#include "nsd-core/base/serial.h"

#include <sys/socket.h>

struct conf_address {
	struct sockaddr_storage addr;
	socklen_t len;
	char text[64]; /* as written, with the port */
};

struct conf_server {
	struct conf_address *listen;
	size_t listen_count;
	struct conf_address *tls_listen; /* TCP with TLS, for transfers */
	size_t tls_listen_count;
	char *tls_certificate; /* NULL: no TLS */
	char *tls_key;
	unsigned workers; /* resolved: never 0 */
	char *state;
	char *control;
	char *user;	/* NULL: stay */
	char *nsid;	/* NULL: not sent */
	char *version;	/* answer of CHAOS version.bind; NULL: refused */
	char *identity; /* answer of CHAOS id.server; NULL: refused */
	uint32_t tcp_idle_ms;
	unsigned tcp_clients; /* connections in all */
	unsigned tcp_clients_per_address;
	uint16_t udp_size;	   /* 1232 */
	uint32_t udp_buffer_bytes; /* receive buffer of each socket */
};

struct conf_keystore {
	char *name;
	uint8_t type; /* enum keystore_type */
	char *module;
	char *token;
	int64_t slot; /* -1: not given */
	char *uri;
	char *pin_file;
	char *init_args;
	char *passphrase_file;
	unsigned sessions;
	bool isolate;
	char *region;
	char *endpoint;
	char *profile;
	char *ca_file;
	unsigned rate; /* signatures a second */
};

struct conf_key {
	bool present;
	size_t keystore;     /* index into conf->keystores */
	uint32_t lifetime_s; /* 0: for ever */
	char *key;	     /* the key wanted, as for keystore_identify(); NULL: it is made */
	bool shared;	     /* made once for all zones of the policy */
};

struct conf_policy {
	char *name;
	bool eager;
	struct conf_key ksk, zsk, csk; /* csk alone, or ksk and zsk */
	uint32_t dnskey_ttl;
	uint32_t refresh_s;
	uint32_t validity_s;
	bool refresh_given; /* else zones with secondaries have one by their SOA's expire */
	bool validity_given;
	uint32_t propagation_s;
	bool publish_cds;
	bool nsec3; /* else NSEC */
	bool nsec3_opt_out;
};

struct conf_tsig_key {
	uint8_t name[NAME_MAX_LEN]; /* lower case */
	uint8_t algorithm;	    /* enum hmac_type */
	char *secret_file;	    /* the secret in base64 */
};

/* Of a remote: where it is, or a range that it asks from. */
struct conf_peer {
	struct conf_address at;
	bool is_range;	/* it cannot be told anything */
	uint8_t prefix; /* bits */
};

struct conf_remote {
	char *name;
	struct conf_peer *peers;
	size_t peer_count;
	int64_t tsig_key; /* index into conf->tsig_keys; -1: none */
	bool tls;	  /* transfers zones over TLS only */
};

#define CONF_JOURNAL_BYTES (64U << 20)

struct conf_zone {
	uint8_t name[NAME_MAX_LEN]; /* lower case */
	char *file;
	int64_t policy; /* index into conf->policies; -1: none */
	bool watch;
	uint8_t serial; /* enum serial_kind; SERIAL_KEEP with a policy: nothing is said */
	struct conf_address *parent;
	size_t parent_count;
	size_t *secondaries; /* indices into conf->remotes */
	size_t secondary_count;
	uint32_t journal_bytes;		 /* CONF_JOURNAL_BYTES where nothing is said */
	bool is_catalog;		 /* made of its members; 'file' is NULL */
	const struct conf_zone *catalog; /* in conf->zones: that of which it is a member; or NULL */
	char *catalog_group;		 /* RFC 9432 4.4.2; NULL: none */
};

/* Paths are absolute or relative to the current directory, as resolved. */
struct conf {
	char *path;
	struct conf_server server;
	struct conf_keystore *keystores;
	size_t keystore_count;
	struct conf_policy *policies;
	size_t policy_count;
	struct conf_tsig_key *tsig_keys;
	size_t tsig_key_count;
	struct conf_remote *remotes;
	size_t remote_count;
	struct conf_zone *zones; /* 'directory' entries expanded; sorted by name; no two alike */
	size_t zone_count;
};

/* Reads and checks everything but the zones' content. All faults go to d with file, line and
 * column. ST_OK: *out is set (warnings are possible). Heap; conf_free(). */
enum status conf_read(const char *path, struct conf **out, struct diags *d) MUST_USE;
/* From memory, for tests and the fuzzer; no file named in it is looked at where !check_files. */
enum status conf_read_mem(const char *name, const char *text, size_t len, bool check_files,
			  struct conf **out, struct diags *d) MUST_USE;
void conf_free(struct conf *c); /* takes NULL */
/* "ADDRESS@PORT", the port optional. ST_EPARSE. */
enum status conf_address_parse(const char *text, uint16_t default_port,
			       struct conf_address *out) MUST_USE;
