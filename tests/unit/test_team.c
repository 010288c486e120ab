/* The native engine's team: each part runs once, whoever runs it and however late its thread comes.
 */
#include "plugins/engines/native/team.h"
#include "tests/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_uint runs[TEAM_MAX_THREADS];
static atomic_uint wrong;

static void count_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    if (count > step->parts || part >= count)
        atomic_fetch_add(&wrong, 1);
    else
        atomic_fetch_add(&runs[part], 1);
}

static void every_part_runs_once(void **state)
{
    const struct pith_kernel kernel = {.run_part = count_part};

    (void) state;
    for (uint32_t threads = 2; threads <= 9; threads += threads < 4 ? 1 : 5) {
        struct team *team = NULL;

        assert_int_equal(team_open(&team, threads), 0);
        assert_non_null(team);
        for (uint32_t step_number = 0; step_number < 5000; step_number++) {
            struct pith_step step = {.kernel = &kernel, .parts = 2 + step_number % 11};
            const uint32_t parts = step.parts < team_size(team) ? step.parts : team_size(team);

            if (step_number % 1000 == 999)
                usleep(2000); /* members fall asleep, and are woken by the next step */
            for (uint32_t i = 0; i < TEAM_MAX_THREADS; i++)
                atomic_store(&runs[i], 0);
            team_run(team, &step);
            for (uint32_t i = 0; i < TEAM_MAX_THREADS; i++)
                assert_int_equal(atomic_load(&runs[i]), i < parts);
        }
        team_close(team);
    }
    assert_int_equal(atomic_load(&wrong), 0);
}

static void a_team_closes_whether_it_sleeps_or_not(void **state)
{
    (void) state;
    for (int round = 0; round < 20; round++) {
        struct team *team = NULL;

        assert_int_equal(team_open(&team, 4), 0);
        if (round % 2)
            usleep(1000);
        team_close(team);
    }
    team_close(NULL);
}

/* Members begin to sleep some 50 to 200 us after a step. Callers that pause about as long, more of them than a machine has
 * cores, so that each is stopped at any place, meet them just there. */
static void *open_run_close(void *argument)
{
    const struct pith_kernel kernel = {.run_part = count_part};
    struct pith_step step = {.kernel = &kernel, .parts = 3};
    unsigned seed = *(const unsigned *) argument;

    for (int round = 0; round < 60; round++) {
        struct team *team = NULL;

        if (team_open(&team, 3) < 0 || !team)
            return argument;
        for (int i = 0; i < 10; i++) {
            team_run(team, &step);
            usleep((unsigned) rand_r(&seed) % 300);
        }
        team_close(team);
    }
    return NULL;
}

static void no_wake_is_lost_on_a_busy_machine(void **state)
{
    pthread_t callers[8];
    unsigned seeds[8];

    (void) state;
    for (unsigned i = 0; i < 8; i++) {
        seeds[i] = i + 1;
        assert_int_equal(pthread_create(&callers[i], NULL, open_run_close, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        void *failed;

        assert_int_equal(pthread_join(callers[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(a_team_closes_whether_it_sleeps_or_not),
        cmocka_unit_test(no_wake_is_lost_on_a_busy_machine),
    };

    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
