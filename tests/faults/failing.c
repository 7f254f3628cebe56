// Loaded before the command (LD_PRELOAD): a system that gives no more memory or no more threads. BAREATTN_FAIL_MEMORY=n
// refuses the n-th request for memory that the program makes, with BAREATTN_FAIL_GONE=1 all from there on;
// BAREATTN_FAIL_THREAD=n gives n threads and refuses the others. BAREATTN_FAIL_COUNT=FILE writes the number of requests.
// BAREATTN_HANG=pread|fsync: that call never comes back, once BAREATTN_HANG_FILE has been made to say so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

static atomic_long requests, from = -1, to = -1, threads_left = -1;

static long number(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text == NULL ? otherwise : atol(text);
}

// Before the program's own constructors; what the loader needs is not counted.
__attribute__((constructor(101))) static void begin(void) {
  threads_left = number("BAREATTN_FAIL_THREAD", -1);
  requests = 0;
  const long at = number("BAREATTN_FAIL_MEMORY", -1);
  if (at < 0) return;
  to = getenv("BAREATTN_FAIL_GONE") != NULL ? 1L << 62 : at + 1;
  from = at;
}
__attribute__((destructor)) static void end(void) {
  const char* path = getenv("BAREATTN_FAIL_COUNT");
  if (path == NULL) return;
  char text[32];
  const int size = snprintf(text, sizeof text, "%ld", (long)requests);
  const int file = open(path, O_WRONLY | O_CREAT, 0600);
  if (write(file, text, (size_t)size) < 0) _exit(99);
  close(file);
}

static int refused(void) {
  const long now = requests++;
  if (now < from || now >= to) return 0;
  errno = ENOMEM;
  return 1;
}

void* malloc(size_t size) { return refused() ? NULL : __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return refused() ? NULL : __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { return refused() ? NULL : __libc_realloc(old, size); }
void* aligned_alloc(size_t alignment, size_t size) { return refused() ? NULL : __libc_memalign(alignment, size); }
void* memalign(size_t alignment, size_t size) { return refused() ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void** to_set, size_t alignment, size_t size) {
  if (refused()) return ENOMEM;
  *to_set = __libc_memalign(alignment, size);
  return *to_set == NULL ? ENOMEM : 0;
}

static void hang(const char* call) {
  const char* wanted = getenv("BAREATTN_HANG");
  if (wanted == NULL || strcmp(wanted, call) != 0) return;
  close(open(getenv("BAREATTN_HANG_FILE"), O_WRONLY | O_CREAT, 0600));
  for (;;) pause();
}
ssize_t pread(int file, void* to, size_t size, off_t from_here) {
  hang("pread");
  return syscall(SYS_pread64, file, to, size, from_here);
}
ssize_t pread64(int file, void* to, size_t size, off_t from_here) { return pread(file, to, size, from_here); }
int fsync(int file) {
  hang("fsync");
  return (int)syscall(SYS_fsync, file);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*body)(void*), void* argument) {
  static int (*real)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "pthread_create");
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  return real(thread, how, body, argument);
}
