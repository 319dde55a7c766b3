#include "proto/file.h"

#include <sodium.h>
#include <stdlib.h>

#include "crypto/aes_ctr.h"
#include "crypto/rand.h"
#include "crypto/sha256.h"
#include "keystore/store.h"

struct file {
	enum file_mode mode;
	char id[UUID_SIZE];
	uint8_t room[STORE_MAX_ID];
	size_t room_n;
	struct aes_ctr *cipher; /* owned */
	struct sha256 *hash;	/* owned; of the plaintext so far */
	uint64_t size;		/* so far */
	bool has_want;
	uint8_t want[SHA256_SIZE];
};

/* ---- one file ---- */

int file_new(enum file_mode mode, struct bytes room, const struct secret *key, struct bytes iv,
	     const uint8_t sha256[SHA256_SIZE], struct file **ret)
{
	CLEANUP(file_freep) struct file *file = NULL;
	int r;

	if (room.n > STORE_MAX_ID)
		return ERR_INTERNAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return ERR_NOMEM;
	file->mode = mode;
	rand_uuid(file->id);
	memcpy(file->room, room.p, room.n);
	file->room_n = room.n;
	if (sha256) {
		memcpy(file->want, sha256, SHA256_SIZE);
		file->has_want = true;
	}
	r = aes_ctr_new(key, iv, &file->cipher);
	if (r == 0)
		r = sha256_new(&file->hash);
	if (r < 0)
		return r;
	*ret = TAKE(file);
	return 0;
}

void file_free(struct file *file)
{
	if (!file)
		return;
	aes_ctr_free(file->cipher);
	sha256_free(file->hash);
	free(file);
}

const char *file_id(const struct file *file)
{
	return file->id;
}

enum file_mode file_mode(const struct file *file)
{
	return file->mode;
}

struct bytes file_room(const struct file *file)
{
	return BYTES(file->room, file->room_n);
}

int file_update(struct file *file, uint8_t *p, size_t n)
{
	int r = 0;

	if (file->mode == FILE_ENCRYPT)
		r = sha256_update(file->hash, BYTES(p, n));
	if (r == 0)
		r = aes_ctr_update(file->cipher, BYTES(p, n), p);
	if (r == 0 && file->mode == FILE_DECRYPT)
		r = sha256_update(file->hash, BYTES(p, n));
	file->size += n;
	return r;
}

int file_final(struct file *file, uint8_t ret_sha256[SHA256_SIZE], uint64_t *ret_size)
{
	int r = sha256_final(file->hash, ret_sha256);

	if (r < 0)
		return r;
	*ret_size = file->size;
	return !file->has_want || sodium_memcmp(file->want, ret_sha256, SHA256_SIZE) == 0 ? 0 : ERR_HASH_MISMATCH;
}

/* ---- a peer's ---- */

void files_init(struct files *f)
{
	*f = (struct files){ 0 };
	(void)pthread_mutex_init(&f->lock, NULL); /* the default kind allocates nothing and cannot fail */
}

void files_lock(struct files *f)
{
	(void)pthread_mutex_lock(&f->lock); /* a default mutex used rightly does not fail */
}

void files_unlock(struct files *f)
{
	(void)pthread_mutex_unlock(&f->lock);
}

static void clear(struct files *f)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		file_freep(&f->of[i]);
}

void files_fini(struct files *f)
{
	struct file_table *t = f->table;

	if (t) {
		(void)pthread_mutex_lock(&t->lock);
		if (f->prev)
			f->prev->next = f->next;
		else
			t->first = f->next;
		if (f->next)
			f->next->prev = f->prev;
		(void)pthread_mutex_unlock(&t->lock);
	}
	clear(f);
	(void)pthread_mutex_destroy(&f->lock);
}

static void enter_table(struct files *f, struct file_table *t)
{
	(void)pthread_mutex_lock(&t->lock);
	if (!f->table) {
		f->table = t;
		f->next = t->first;
		if (f->next)
			f->next->prev = f;
		t->first = f;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

int files_add(struct files *f, struct file_table *t, struct file *file)
{
	size_t i = 0;

	enter_table(f, t);
	files_lock(f);
	while (i < FILES_MAX && f->of[i])
		i++;
	if (i < FILES_MAX)
		f->of[i] = file;
	files_unlock(f);
	return i < FILES_MAX ? 0 : ERR_OVERLOADED;
}

struct file *files_find(const struct files *f, struct bytes id)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		if (f->of[i] && bytes_eq(bytes_str(f->of[i]->id), id))
			return f->of[i];
	}
	return NULL;
}

struct file *files_take(struct files *f, struct file *file)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		if (f->of[i] == file)
			f->of[i] = NULL;
	}
	return file;
}

/* ---- everybody's ---- */

void file_table_init(struct file_table *t)
{
	*t = (struct file_table){ 0 };
	(void)pthread_mutex_init(&t->lock, NULL); /* the default kind allocates nothing and cannot fail */
}

void file_table_fini(struct file_table *t)
{
	(void)pthread_mutex_destroy(&t->lock);
}

void file_table_clear(struct file_table *t)
{
	(void)pthread_mutex_lock(&t->lock);
	for (struct files *f = t->first; f; f = f->next) {
		files_lock(f);
		clear(f);
		files_unlock(f);
	}
	(void)pthread_mutex_unlock(&t->lock);
}
