/* The tables of losses, optimisers and schedules, and looking a row up by name. */
#include "learn/rows.h"

#include <string.h>

#define GRAFT_LOSS(name) &graft_loss_##name,
static const graft_loss *const losses[] = {
#include "learn/loss/list.h"
};
#undef GRAFT_LOSS
#define GRAFT_OPTIMISER(name) &graft_optimiser_##name,
static const graft_optimiser *const optimisers[] = {
#include "learn/optimiser/list.h"
};
#undef GRAFT_OPTIMISER
#define GRAFT_SCHEDULE(name) &graft_schedule_##name,
static const graft_schedule *const schedules[] = {
#include "learn/schedule/list.h"
};
#undef GRAFT_SCHEDULE

#define GRAFT_LOSS(name) #name,
static const char *const loss_names[] = {
#include "learn/loss/list.h"
    NULL};
#undef GRAFT_LOSS
#define GRAFT_OPTIMISER(name) #name,
static const char *const optimiser_names[] = {
#include "learn/optimiser/list.h"
    NULL};
#undef GRAFT_OPTIMISER
#define GRAFT_SCHEDULE(name) #name,
static const char *const schedule_names[] = {
#include "learn/schedule/list.h"
    NULL};
#undef GRAFT_SCHEDULE

#define GRAFT_REGULARISER(name) &graft_regulariser_##name,
static const graft_regulariser *const regularisers[] = {
#include "learn/regulariser/list.h"
    NULL};
#undef GRAFT_REGULARISER

const graft_regulariser *const *graft_regularisers(void) {
    return regularisers;
}

double graft_regulariser_strength(const graft_regulariser *row, const graft_recipe *r) {
    double strength;
    memcpy(&strength, (const char *)r + row->strength, sizeof strength);
    return strength;
}

const graft_loss *graft_loss_find(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(losses); i++)
        if (strcmp(losses[i]->name, name) == 0) return losses[i];
    return NULL;
}

const graft_optimiser *graft_optimiser_find(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(optimisers); i++)
        if (strcmp(optimisers[i]->name, name) == 0) return optimisers[i];
    return NULL;
}

const graft_schedule *graft_schedule_find(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(schedules); i++)
        if (strcmp(schedules[i]->name, name) == 0) return schedules[i];
    return NULL;
}

const char *const *graft_loss_names(void) {
    return loss_names;
}

const char *const *graft_optimiser_names(void) {
    return optimiser_names;
}

const char *const *graft_schedule_names(void) {
    return schedule_names;
}
