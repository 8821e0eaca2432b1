/* For tests/cli/export.sh: the self-test of an exported policy on a Cortex-M without any library;
   says by semihosting how it went. Linked at 0 (code) and 0x20000000 (data).
   qemu-system-arm -M mps2-an386 (M4), mps2-an385 (M3) */
#include POLICY_FILE

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define OF(word) JOIN(POLICY, word)

static OF(policy) policy;

/* Ask the emulator: 4 writes text, 0x18 ends the program. */
static void semihost(int op, const void *arg)
{
    register int r0 __asm__("r0") = op;
    register const void *r1 __asm__("r1") = arg;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void start(void);
void start(void)
{
    static const char *const text[] = {"passed\n", "an action differs\n", "the noise differs\n"};
    int bad;
#ifdef __ARM_FP
    *(volatile unsigned *)0xe000ed88u |= 0xfu << 20; /* switch the FPU on */
    __asm__ volatile("dsb\n isb");
#endif
    bad = OF(selftest)(&policy);
    semihost(4, text[bad]);
    semihost(0x18, (const void *)(bad ? 0x20023u : 0x20026u)); /* error, or regular end */
    for (;;) {}
}

/* stack and first instruction */
__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))0x20100000u, start};
