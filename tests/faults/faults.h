/* The n-th allocation, or the n-th call that reaches the disk, fails: for n = 1, 2, ... until a
 * call gets by without. The program that links faults.c has malloc and its kin, and write, fsync,
 * rename and theirs, under its own name; the dynamic linker gives them to every library that it
 * loads, plugins too, and each calls the next of that name: libc's, or the address sanitizer's. So
 * it needs no preloading and is the same in plain builds and under sanitizers. */
#ifndef PITH_TESTS_FAULTS_H
#define PITH_TESTS_FAULTS_H

#include "tests/testing.h"

enum faults_kind { FAULTS_MEMORY, FAULTS_DISK };

/* Does the thing once, looks at what came out, frees it all; returns what the thing returned. */
typedef int faults_call(void *user, struct pith_error *err);

/* Runs `call` with every single fault. After each: no crash, as many blocks and open files as
 * before, and a negative errno with a sentence, unless it did without what failed and says success.
 * after: may be NULL; called outside the faults, with what the call returned, to look at what is on
 * disk. */
void faults_each(enum faults_kind kind, faults_call *call, void (*after)(void *user, int rc),
                 void *user);

#endif
