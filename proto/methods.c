#include "proto/methods.h"

#include "base/scan.h"

/*
 * The contract in one place: every row of docs/protocol.md, sections 2 to 4, that this version has. A test holds the two
 * against each other.
 */

#define ROW(struct_, member_, name_, type_, required_, about_)                 \
	{                                                                      \
		.name = (name_), .type = (type_), .required = (required_),     \
		.offset = offsetof(struct struct_, member_), .about = (about_) \
	}
#define MUST true
#define MAY  false

#define ROOM(struct_) ROW(struct_, room_id, "roomId", PARAM_ID, MUST, "the room's _id")
#define APP(struct_)  ROW(struct_, app_id, "appId", PARAM_ID, MUST, "the app's id")
#define USER(struct_) ROW(struct_, user_id, "userId", PARAM_ID, MUST, "the _id of the Rocket.Chat user the key is for")

static const struct param t_hello[] = {
	ROW(p_hello, protocol, "protocol", PARAM_ARRAY, MUST, "versions the client speaks"),
	ROW(p_hello, client, "client", PARAM_NAME, MAY, "name/version of the client"),
};

static const struct param t_authenticate[] = {
	APP(p_authenticate),
	ROW(p_authenticate, nonce, "nonce", PARAM_STRING, MUST, "base64 of 32 random bytes"),
	ROW(p_authenticate, proof, "proof", PARAM_STRING, MUST, "hex of the HMAC"),
};

static const struct param t_user[] = { USER(p_user) };
static const struct param t_room[] = { ROOM(p_room) };

static const struct param t_import_room_key[] = {
	ROOM(p_import_room_key),
	ROW(p_import_room_key, key, "key", PARAM_STRING, MUST, "an E2EKey or E2ESuggestedKey"),
	ROW(p_import_room_key, kid, "kid", PARAM_KID, MAY, "the room's e2eKeyId; wins over the key's prefix"),
	ROW(p_import_room_key, make_current, "makeCurrent", PARAM_BOOL, MAY, "encrypt with it from now on"),
	ROW(p_import_room_key, ts, "ts", PARAM_TS, MAY, "ISO string or EJSON date; given back as it came"),
};

static const struct param t_import_room_keys[] = {
	ROOM(p_import_room_keys),
	ROW(p_import_room_keys, keys, "keys", PARAM_ARRAY, MUST, "[{e2eKeyId, E2EKey, ts}], as in oldRoomKeys"),
};

static const struct param t_get_room_key[] = {
	ROOM(p_get_room_key),
	ROW(p_get_room_key, kid, "kid", PARAM_KID, MAY, "left out: the current key"),
};

static const struct param t_wrap_room_key[] = {
	ROOM(p_wrap_room_key),
	ROW(p_wrap_room_key, recipients, "recipients", PARAM_ARRAY, MUST, "[{_id, public_key}], at most 100"),
	ROW(p_wrap_room_key, history, "history", PARAM_BOOL_ON, MAY, "with the old keys"),
};

static const struct param t_decrypt[] = {
	ROOM(p_decrypt),
	ROW(p_decrypt, content, "content", PARAM_CONTENT, MUST, "a message's content, or the legacy string"),
};

static const struct param t_encrypt[] = {
	ROOM(p_encrypt),
	ROW(p_encrypt, payload, "payload", PARAM_OBJECT, MUST, "what is to be encrypted, byte for byte"),
};

static const struct param t_message[] = {
	ROW(p_message, message, "message", PARAM_MESSAGE, MUST, "a message in the server's shape; the room is rid"),
};

static const struct param t_file_open[] = {
	ROOM(p_file_open),
	ROW(p_file_open, mode, "mode", PARAM_STRING, MUST, "encrypt or decrypt"),
	ROW(p_file_open, name, "name", PARAM_STRING, MAY, "of encrypt: the file's name, 1 to 1024 bytes of UTF-8"),
	ROW(p_file_open, key, "key", PARAM_OBJECT, MAY, "of decrypt: the attachment's encryption.key"),
	ROW(p_file_open, iv, "iv", PARAM_STRING, MAY, "of decrypt: the attachment's encryption.iv"),
	ROW(p_file_open, sha256, "sha256", PARAM_STRING, MAY, "of decrypt: the attachment's hashes.sha256"),
};

static const struct param t_file_update[] = {
	ROW(p_file_update, file_id, "fileId", PARAM_ID, MUST, "as fileOpen gave it"),
	ROW(p_file_update, data, "data", PARAM_STRING, MUST, "base64 of the next at most 512 KiB"),
};

static const struct param t_file_close[] = {
	ROW(p_file_close, file_id, "fileId", PARAM_ID, MUST, "as fileOpen gave it"),
};

static const struct param t_subscribe[] = {
	ROW(p_subscribe, since, "since", PARAM_SEQ, MAY, "events behind this number; left out: what comes from now on"),
};

static const struct param t_create_app[] = {
	APP(p_create_app),
	ROW(p_create_app, name, "name", PARAM_NAME, MAY, "for people"),
	ROW(p_create_app, rooms, "rooms", PARAM_ARRAY, MAY, "[{roomId, permissions}]"),
};

static const struct param t_app[] = { APP(p_app) };

static const struct param t_authorize[] = {
	APP(p_authorize),
	ROOM(p_authorize),
	ROW(p_authorize, permissions, "permissions", PARAM_ARRAY, MUST, "of read, write, create, distribute"),
};

static const struct param t_deauthorize[] = {
	APP(p_deauthorize),
	ROOM(p_deauthorize),
	ROW(p_deauthorize, purge_keys, "purgeKeys", PARAM_BOOL, MAY, "destroy the app's keys of the room, too"),
};

static const struct param t_rotate[] = {
	APP(p_rotate),
	ROW(p_rotate, grace_s, "graceSeconds", PARAM_GRACE, MAY, "how long the former key goes on unwrapping"),
};

static const struct param t_revoke_key[] = {
	APP(p_revoke_key),
	ROW(p_revoke_key, key_id, "keyId", PARAM_ID, MUST, "of a retired identity key"),
};

static const struct param t_set_escrow[] = {
	APP(p_set_escrow),
	ROW(p_set_escrow, passphrase, "passphrase", PARAM_SECRET_OR_NULL, MUST, "printable ASCII; null: none"),
};

static const struct param t_app_room[] = { APP(p_app_room), ROOM(p_app_room) };

static const struct param t_import_identity[] = {
	APP(p_import_identity),
	USER(p_import_identity),
	ROW(p_import_identity, public_key, "public_key", PARAM_TEXT, MUST, "as Rocket.Chat stores it"),
	ROW(p_import_identity, private_key, "private_key", PARAM_TEXT, MUST, "any envelope a client ever wrote"),
	ROW(p_import_identity, passphrase, "passphrase", PARAM_SECRET, MUST, "what the envelope is sealed with"),
};

static const struct param t_export_identity[] = {
	APP(p_export_identity),
	USER(p_export_identity),
	ROW(p_export_identity, passphrase, "passphrase", PARAM_SECRET, MUST, "printable ASCII"),
};

static const struct param t_path[] = {
	ROW(p_path, path, "path", PARAM_STRING, MUST, "absolute path of a file that does not exist yet"),
};

static const struct param t_add_slot[] = {
	ROW(p_add_slot, seal, "seal", PARAM_NAME, MUST, "keyfile, passphrase, credential, command, pkcs11 or recovery"),
	ROW(p_add_slot, key_file, "keyFile", PARAM_STRING, MAY, "of keyfile: absolute path; made if missing"),
	ROW(p_add_slot, credential, "credential", PARAM_NAME, MAY, "of credential: its name"),
	ROW(p_add_slot, passphrase, "passphrase", PARAM_SECRET, MAY, "of passphrase: 1 to 1024 bytes"),
};

static const struct param t_remove_slot[] = {
	ROW(p_remove_slot, slot, "slot", PARAM_UINT, MUST, "the slot's number"),
};

static const struct param t_unlock[] = {
	ROW(p_unlock, passphrase, "passphrase", PARAM_SECRET, MAY, "where the seal needs one"),
};

static const struct param t_read_audit[] = {
	ROW(p_read_audit, since, "since", PARAM_UINT, MAY, "entries behind this number; left out: from the first"),
	ROW(p_read_audit, limit, "limit", PARAM_PAGE, MAY, "at most so many, 1 to 1000; left out: 100"),
};

#define PARAMS(table_, struct_) \
	.params = (table_), .n_params = sizeof(table_) / sizeof((table_)[0]), .params_size = sizeof(struct struct_)
#define NO_PARAMS			.params_size = sizeof(struct p_none)
#define NEEDS(perms_, struct_, member_) .perms = (perms_), .room_offset = offsetof(struct struct_, member_)
#define IN_ORDER			.lane = LANE_POOL, .in_order = true
#define ANYONE				(ROLE_NEW | ROLE_APP | ROLE_ADMIN)
#define AUDITED(audited_, target_)	.audited = (audited_), .target = (target_)

const struct method methods[] = {
	/* first what is called most */
	{ .name = "decrypt",
	  .roles = ROLE_APP,
	  .use = APP_USE_DECRYPT,
	  .lane = LANE_INLINE,
	  NEEDS(PERM_READ, p_decrypt, room_id),
	  PARAMS(t_decrypt, p_decrypt),
	  .handle = m_decrypt,
	  .summary = "decrypt a message's content",
	  .result = "kid algorithm keyState payload" },
	{ .name = "encrypt",
	  .roles = ROLE_APP,
	  .use = APP_USE_ENCRYPT,
	  .lane = LANE_INLINE,
	  NEEDS(PERM_WRITE, p_encrypt, room_id),
	  PARAMS(t_encrypt, p_encrypt),
	  .handle = m_encrypt,
	  .summary = "encrypt a payload with the current room key",
	  .result = "content" },
	{ .name = "decryptMessage",
	  .roles = ROLE_APP,
	  .use = APP_USE_DECRYPT,
	  .lane = LANE_INLINE,
	  NEEDS(PERM_READ, p_message, message.rid),
	  PARAMS(t_message, p_message),
	  .handle = m_decrypt_message,
	  .summary = "decrypt a whole message",
	  .result = "message" },
	{ .name = "encryptMessage",
	  .roles = ROLE_APP,
	  .use = APP_USE_ENCRYPT,
	  .lane = LANE_INLINE,
	  NEEDS(PERM_WRITE, p_message, message.rid),
	  PARAMS(t_message, p_message),
	  .handle = m_encrypt_message,
	  .summary = "encrypt a whole message",
	  .result = "message" },

	{ .name = "fileUpdate",
	  .roles = ROLE_APP,
	  IN_ORDER,
	  PARAMS(t_file_update, p_file_update),
	  .handle = m_file_update,
	  .summary = "encrypt or decrypt the next chunk of a file",
	  .result = "data" },
	{ .name = "fileOpen",
	  .roles = ROLE_APP,
	  IN_ORDER,
	  PARAMS(t_file_open, p_file_open),
	  .check = m_file_open_check,
	  .handle = m_file_open,
	  .summary = "begin to encrypt a file under a fresh key, or to decrypt one",
	  .result = "fileId key iv hashedName" },
	{ .name = "fileClose",
	  .roles = ROLE_APP,
	  IN_ORDER,
	  PARAMS(t_file_close, p_file_close),
	  .handle = m_file_close,
	  .summary = "end a file, and compare its hash",
	  .result = "sha256 size" },

	{ .name = "hello",
	  .roles = ANYONE,
	  .when_locked = true,
	  .lane = LANE_INLINE,
	  PARAMS(t_hello, p_hello),
	  .handle = m_hello,
	  .summary = "agree on a version and get a challenge",
	  .result = "protocol server challenge capabilities limits" },
	{ .name = "authenticate",
	  .roles = ANYONE,
	  .lane = LANE_INLINE,
	  PARAMS(t_authenticate, p_authenticate),
	  .check = m_authenticate_check,
	  .handle = m_authenticate,
	  .summary = "prove to be an app, and be proven to",
	  .result = "appId serverProof" },
	{ .name = "ping",
	  .roles = ANYONE,
	  .when_locked = true,
	  .lane = LANE_INLINE,
	  NO_PARAMS,
	  .handle = m_ping,
	  .summary = "the time",
	  .result = "time" },

	{ .name = "getIdentity",
	  .roles = ROLE_APP,
	  .lane = LANE_INLINE,
	  NO_PARAMS,
	  .handle = m_get_identity,
	  .summary = "the app's public key",
	  .result = "appId keyId publicKey fingerprint createdAt retired" },
	{ .name = "getKeyPublication",
	  .roles = ROLE_APP,
	  .use = APP_USE_WRAP,
	  .lane = LANE_POOL,
	  PARAMS(t_user, p_user),
	  .handle = m_get_key_publication,
	  .summary = "the body for e2e.setUserPublicAndPrivateKeys",
	  .result = "public_key private_key" },
	{ .name = "getStatus",
	  .roles = ROLE_APP,
	  .lane = LANE_INLINE,
	  NO_PARAMS,
	  .handle = m_app_status,
	  .summary = "what the daemon holds for the app",
	  .result = "appId server protocol rooms roomKeys seq" },

	{ .name = "importRoomKey",
	  .roles = ROLE_APP,
	  .use = APP_USE_UNWRAP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_READ, p_import_room_key, room_id),
	  PARAMS(t_import_room_key, p_import_room_key),
	  .check = m_import_room_key_check,
	  .handle = m_import_room_key,
	  .summary = "take in a room key that a member wrapped for the app",
	  .result = "kid algorithm state" },
	{ .name = "importRoomKeys",
	  .roles = ROLE_APP,
	  .use = APP_USE_UNWRAP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_READ, p_import_room_keys, room_id),
	  PARAMS(t_import_room_keys, p_import_room_keys),
	  .check = m_import_room_keys_check,
	  .handle = m_import_room_keys,
	  .summary = "take in a room's history of keys",
	  .result = "imported failed" },
	{ .name = "createRoomKey",
	  .roles = ROLE_APP,
	  .use = APP_USE_WRAP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_CREATE, p_room, room_id),
	  PARAMS(t_room, p_room),
	  .handle = m_create_room_key,
	  .summary = "make a room key and use it from now on",
	  .result = "kid key" },
	{ .name = "getEncryptedRoomKey",
	  .roles = ROLE_APP,
	  .use = APP_USE_WRAP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_READ, p_get_room_key, room_id),
	  PARAMS(t_get_room_key, p_get_room_key),
	  .handle = m_get_room_key,
	  .summary = "a room key, wrapped for the app itself",
	  .result = "roomId kid key algorithm state ts" },
	{ .name = "listRoomKeys",
	  .roles = ROLE_APP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_READ, p_room, room_id),
	  PARAMS(t_room, p_room),
	  .handle = m_list_room_keys,
	  .summary = "the room keys held, newest first",
	  .result = "keys" },
	{ .name = "wrapRoomKey",
	  .roles = ROLE_APP,
	  .use = APP_USE_WRAP,
	  .lane = LANE_POOL,
	  NEEDS(PERM_DISTRIBUTE, p_wrap_room_key, room_id),
	  PARAMS(t_wrap_room_key, p_wrap_room_key),
	  .check = m_wrap_room_key_check,
	  .handle = m_wrap_room_key,
	  .summary = "wrap the room's keys for other members",
	  .result = "roomId users failed" },

	{ .name = "subscribe",
	  .roles = ROLE_APP,
	  .lane = LANE_INLINE,
	  PARAMS(t_subscribe, p_subscribe),
	  .handle = m_subscribe,
	  .summary = "be told of the app's events",
	  .result = "seq" },
	{ .name = "subscribe",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_LOOK, ""),
	  .lane = LANE_POOL,
	  PARAMS(t_subscribe, p_subscribe),
	  .handle = m_subscribe,
	  .summary = "be told of all apps' events",
	  .result = "seq" },
	{ .name = "unsubscribe",
	  .roles = ROLE_APP | ROLE_ADMIN,
	  .lane = LANE_INLINE,
	  NO_PARAMS,
	  .handle = m_unsubscribe,
	  .summary = "be told no more",
	  .result = "" },

	{ .name = "createApp",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_create_app, p_create_app),
	  .check = m_create_app_check,
	  .handle = m_create_app,
	  .summary = "make an app and its identity; the token is shown this once",
	  .result = "appId token keyId publicKey" },
	{ .name = "listApps",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_LOOK, ""),
	  .lane = LANE_POOL,
	  NO_PARAMS,
	  .handle = m_list_apps,
	  .summary = "all apps",
	  .result = "apps" },
	{ .name = "getApp",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_LOOK, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_app, p_app),
	  .handle = m_get_app,
	  .summary = "one app, its identities and rooms",
	  .result = "appId name state createdAt lastUsedAt identities rooms" },
	{ .name = "resetToken",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_app, p_app),
	  .handle = m_reset_token,
	  .summary = "a new token; sessions of the old one are closed",
	  .result = "token" },
	{ .name = "revokeApp",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  PARAMS(t_app, p_app),
	  .handle = m_revoke_app,
	  .summary = "end an app for good and destroy its secrets",
	  .result = "" },
	{ .name = "authorizeRoom",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId roomId"),
	  .lane = LANE_POOL,
	  PARAMS(t_authorize, p_authorize),
	  .check = m_authorize_room_check,
	  .handle = m_authorize_room,
	  .summary = "grant an app permissions on a room",
	  .result = "roomId permissions" },
	{ .name = "deauthorizeRoom",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId roomId"),
	  .lane = LANE_POOL,
	  PARAMS(t_deauthorize, p_deauthorize),
	  .handle = m_deauthorize_room,
	  .summary = "take an app's grant on a room away",
	  .result = "" },
	{ .name = "listRooms",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_LOOK, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_app, p_app),
	  .handle = m_list_rooms,
	  .summary = "the rooms an app may use",
	  .result = "rooms" },
	{ .name = "listAppRoomKeys",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_LOOK, "appId roomId"),
	  .lane = LANE_POOL,
	  PARAMS(t_app_room, p_app_room),
	  .handle = m_list_app_room_keys,
	  .summary = "the keys an app has of a room, newest first",
	  .result = "keys" },
	{ .name = "rotate",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_rotate, p_rotate),
	  .handle = m_rotate,
	  .summary = "give an app a new identity key",
	  .result = "keyId publicKey previousKeyId previousExpiresAt" },
	{ .name = "revokeKey",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId keyId"),
	  .lane = LANE_POOL,
	  PARAMS(t_revoke_key, p_revoke_key),
	  .handle = m_revoke_key,
	  .summary = "destroy a retired identity key at once",
	  .result = "" },
	{ .name = "setEscrow",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_set_escrow, p_set_escrow),
	  .check = m_set_escrow_check,
	  .handle = m_set_escrow,
	  .summary = "set the passphrase that published private keys are sealed with",
	  .result = "" },
	{ .name = "importIdentity",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_import_identity, p_import_identity),
	  .handle = m_import_identity,
	  .summary = "adopt a key pair made by a Rocket.Chat client",
	  .result = "keyId" },
	{ .name = "exportIdentity",
	  .roles = ROLE_ADMIN,
	  AUDITED(AUDIT_CHANGE, "appId"),
	  .lane = LANE_POOL,
	  PARAMS(t_export_identity, p_export_identity),
	  .check = m_export_identity_check,
	  .handle = m_export_identity,
	  .summary = "the app's key pair for a Rocket.Chat client",
	  .result = "public_key private_key" },
	{ .name = "verifyKeystore",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_LOOK, ""),
	  NO_PARAMS,
	  .handle = m_verify_keystore,
	  .summary = "read the keystore again from the start",
	  .result = "ok records generation" },
	{ .name = "backupKeystore",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, "path"),
	  PARAMS(t_path, p_path),
	  .check = m_backup_keystore_check,
	  .handle = m_backup_keystore,
	  .summary = "a consistent copy, still sealed",
	  .result = "path bytes seq" },
	{ .name = "compactKeystore",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, ""),
	  NO_PARAMS,
	  .handle = m_compact_keystore,
	  .summary = "write the keystore anew without what is out of date",
	  .result = "before after" },
	{ .name = "rekeyKeystore",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, ""),
	  NO_PARAMS,
	  .handle = m_rekey_keystore,
	  .summary = "a new data key for all records",
	  .result = "generation" },
	{ .name = "listSlots",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_LOOK, ""),
	  NO_PARAMS,
	  .handle = m_list_slots,
	  .summary = "the keystore's key slots",
	  .result = "slots" },
	{ .name = "addSlot",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, "seal"),
	  PARAMS(t_add_slot, p_add_slot),
	  .check = m_add_slot_check,
	  .handle = m_add_slot,
	  .summary = "one more secret that opens the keystore; a recovery key is shown this once",
	  .result = "slot recoveryKey" },
	{ .name = "removeSlot",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  AUDITED(AUDIT_CHANGE, "slot"),
	  PARAMS(t_remove_slot, p_remove_slot),
	  .handle = m_remove_slot,
	  .summary = "take a key slot away",
	  .result = "" },
	{ .name = "lock",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  .when_locked = true, /* which writes its own entry, as unlock does */
	  NO_PARAMS,
	  .handle = m_lock,
	  .summary = "drop all secrets from memory",
	  .result = "" },
	{ .name = "unlock",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  .when_locked = true,
	  PARAMS(t_unlock, p_unlock),
	  .handle = m_unlock,
	  .summary = "load the keystore again",
	  .result = "" },
	{ .name = "readAudit",
	  .roles = ROLE_ADMIN,
	  .lane = LANE_POOL,
	  PARAMS(t_read_audit, p_read_audit),
	  .handle = m_read_audit,
	  .summary = "entries of the audit trail",
	  .result = "entries next" },
	{ .name = "getStatus",
	  .roles = ROLE_ADMIN,
	  .when_locked = true,
	  .lane = LANE_POOL,
	  NO_PARAMS,
	  .handle = m_admin_status,
	  .summary = "the daemon's state",
	  .result = "version pid startedAt state problems keystore memory workers connections apps roomKeys" },
	{ .name = "rpc.discover",
	  .roles = ROLE_APP | ROLE_ADMIN,
	  .when_locked = true,
	  .lane = LANE_POOL,
	  NO_PARAMS,
	  .handle = m_discover,
	  .summary = "this document",
	  .result = "openrpc info methods" },
};

const size_t n_methods = sizeof(methods) / sizeof(methods[0]);

const struct method *methods_find(struct bytes name, enum role role)
{
	for (size_t i = 0; i < n_methods; i++) {
		if ((methods[i].roles & role) && scan_str_is(name, bytes_str(methods[i].name)))
			return &methods[i];
	}
	return NULL;
}
