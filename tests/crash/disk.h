/*
 * disk - what a disk would show after a loss of power
 *
 * FOLDER.disk/inode/INO has a file's content as of its last sync, and FOLDER.disk/names/NAME is a hard link to the content of the file
 * that had the name when the folder was synced last. The links do the bookkeeping: a content that is synced again shows under its
 * durable name, and one whose inode number went to another file lives on under its durable name alone. Faults.losePower() in
 * faults.mjs makes a folder of it. All functions are called under the lock of faults.c.
 */
#ifndef E2EED_TESTS_CRASH_DISK_H
#define E2EED_TESTS_CRASH_DISK_H

#include <stddef.h>
#include <sys/types.h>

/* Begin with @folder, an absolute path; what is there counts as synced unless FOLDER.disk/ knows better. */
void disk_init(const char *folder);

/* A file was made. */
void disk_born(ino_t ino);

/* A sync of the file behind @fd was done, or was refused. */
void disk_file_synced(int fd, ino_t ino);
void disk_sync_failed(int fd, ino_t ino);

/* Bytes of a file were written, or cut off. */
void disk_rewritten(ino_t ino, off_t from, off_t to);

/* A sync of the folder was done. */
void disk_folder_synced(void);

/* For what must not fail, or the test would mean nothing: says what, and ends the process. */
_Noreturn void disk_broken(const char *what, const char *path);

#endif
