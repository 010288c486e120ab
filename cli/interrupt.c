/* See interrupt.h. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void note(int number)
{
    seen = number;
}

void interrupt_watch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESETHAND | SA_RESTART};
        struct sigaction before;

        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void) sigaction(numbers[i], &action, NULL); /* without, it ends untidily */
    }
}

bool interrupt_seen(void)
{
    return seen != 0;
}

void interrupt_pass_on(void)
{
    if (!seen)
        return;
    (void) signal(seen, SIG_DFL);
    (void) raise(seen);
}
