/*
 * loader: what a utility pod runs when its image has no shell.
 *
 *   loader hold       stays until it is told to stop, or has been the only process for
 *                     five minutes: then its client was killed. It reaps orphans (it is process 1)
 *   loader put PATH   writes stdin to PATH, executable, and says how many bytes came
 *
 * "put" is never silent while it reads: it prints "ready\n" before the first
 * read, then "." for each read, then "\n<bytes>\n". Container runtimes have
 * been seen to cut the stdin of a command that prints nothing.
 *
 * No libc, so that one static program of about a kilobyte fits a ConfigMap and
 * runs on every image. Exit status: 0 done, 1 a system call failed, 2 usage.
 */
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define AT_FDCWD -100
#define WNOHANG 1
#define SIGTERM 15
#define SIGINT 2
#define ESRCH 3
#ifndef IDLE
#define IDLE 300 /* seconds */
#endif

typedef long word;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, CLOSE = 3, SIGACTION = 13, SIGRETURN = 15, NANOSLEEP = 35, EXIT = 60, WAIT4 = 61,
       KILL = 62, OPENAT = 257, UNLINKAT = 263, FCHMOD = 91 };
#define SA_RESTORER 0x04000000
static word sys(word n, word a, word b, word c, word d) {
	register word r10 __asm__("r10") = d;
	word r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
__asm__(".globl _start\n_start:\n mov %rsp,%rdi\n and $-16,%rsp\n call start\n");
__asm__("restorer:\n mov $15,%eax\n syscall\n");
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, CLOSE = 57, SIGACTION = 134, SIGRETURN = 139, NANOSLEEP = 101, EXIT = 93, WAIT4 = 260,
       KILL = 129, OPENAT = 56, UNLINKAT = 35, FCHMOD = 52 };
#define SA_RESTORER 0
static word sys(word n, word a, word b, word c, word d) {
	register word x8 __asm__("x8") = n;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
__asm__(".globl _start\n_start:\n mov x0,sp\n bl start\n");
__asm__("restorer:\n mov x8,#139\n svc 0\n");
#else
#error "no system calls for this architecture"
#endif

extern void restorer(void);
static char buf[65536];

static void leave(int code) {
	for (;;)
		sys(EXIT, code, 0, 0, 0);
}

static void stop(int sig) {
	(void)sig;
	leave(0);
}

static int same(const char *a, const char *b) {
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void say(const char *s, word n) {
	while (n > 0) {
		word w = sys(WRITE, 1, (word)s, n, 0);
		if (w <= 0)
			leave(1);
		s += w, n -= w;
	}
}

static void hold(void) {
	/* Process 1 gets no default action for signals: without a handler the kubelet would wait out the grace period. */
	struct { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; } act =
		{stop, SA_RESTORER, restorer, 0};
	sys(SIGACTION, SIGTERM, (word)&act, 0, 8);
	sys(SIGACTION, SIGINT, (word)&act, 0, 8);
	for (word alone = 0; alone < IDLE; alone++) {
		word second[2] = {1, 0};
		while (sys(WAIT4, -1, 0, WNOHANG, 0) > 0)
			;
		/* For process 1 these are all others of its pod; signal 0 only asks. */
		if (sys(KILL, -1, 0, 0, 0) != -ESRCH)
			alone = 0;
		sys(NANOSLEEP, (word)second, 0, 0, 0);
	}
	leave(0);
}

static void put(const char *path) {
	word total = 0, n, fd;
	/* A program that runs cannot be opened for writing; a new file of its name can. */
	sys(UNLINKAT, AT_FDCWD, (word)path, 0, 0);
	fd = sys(OPENAT, AT_FDCWD, (word)path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	if (fd < 0)
		leave(1);
	say("ready\n", 6);
	while ((n = sys(READ, 0, (word)buf, sizeof buf, 0)) > 0) {
		for (word off = 0; off < n;) {
			word w = sys(WRITE, fd, (word)buf + off, n - off, 0);
			if (w <= 0)
				leave(1);
			off += w;
		}
		total += n;
		say(".", 1);
	}
	if (n < 0 || sys(FCHMOD, fd, 0755, 0, 0) < 0 || sys(CLOSE, fd, 0, 0, 0) < 0)
		leave(1);
	char digits[24], *p = digits + sizeof digits;
	*--p = '\n';
	do
		*--p = '0' + total % 10;
	while (total /= 10);
	*--p = '\n';
	say(p, digits + sizeof digits - p);
	leave(0);
}

void start(word *stack) {
	word argc = stack[0];
	char **argv = (char **)(stack + 1);
	if (argc == 2 && same(argv[1], "hold"))
		hold();
	if (argc == 3 && same(argv[1], "put"))
		put(argv[2]);
	say("usage: loader hold | put PATH\n", 30);
	leave(2);
}
