/* A unit for FMI 3.0: an electric boiler with heating legs that are on or off. Consumption is positive, in W and %. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fmi3FunctionTypes.h"

#define EXPORT __attribute__((visibility("default")))

enum { TIME, P_MAX_KW, E_MAX_KWH, P_SET_KW, DRAW_KW, P_W, CHARGE, ENABLE, LEGS, FAIL_AT_S, END_AT_S, SHARES, LABEL, NUMBERS };

typedef struct {
    double number[NUMBERS];
    char label[32];
} State;

typedef struct {
    State state;
    fmi3InstanceEnvironment environment;
    fmi3LogMessageCallback log;
} Boiler;

EXPORT const char *fmi3GetVersion(void) { return "3.0"; }

EXPORT fmi3Instance fmi3InstantiateCoSimulation(
    fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible, fmi3Boolean logging, fmi3Boolean events,
    fmi3Boolean early, const fmi3ValueReference intermediate[], size_t n, fmi3InstanceEnvironment environment,
    fmi3LogMessageCallback log, fmi3IntermediateUpdateCallback update)
{
    if (strcmp(token, "boiler-1") != 0) return NULL;
    Boiler *boiler = calloc(1, sizeof(Boiler));
    double *x = boiler->state.number;
    boiler->environment = environment, boiler->log = log;
    x[P_MAX_KW] = 6.0, x[E_MAX_KWH] = 8.0, x[CHARGE] = 50.0, x[ENABLE] = 1.0, x[LEGS] = 3.0;
    x[FAIL_AT_S] = x[END_AT_S] = 1e12;
    return boiler;
}

EXPORT void fmi3FreeInstance(fmi3Instance instance) { free(instance); }

EXPORT fmi3Status fmi3EnterInitializationMode(
    fmi3Instance instance, fmi3Boolean has_tolerance, fmi3Float64 tolerance, fmi3Float64 start, fmi3Boolean has_stop,
    fmi3Float64 stop)
{
    Boiler *boiler = instance;
    boiler->state.number[TIME] = start;
    if (boiler->state.number[E_MAX_KWH] > 0.0) return fmi3OK;
    boiler->log(boiler->environment, fmi3Error, "logStatusError", "a boiler without water");
    return fmi3Error;
}

EXPORT fmi3Status fmi3ExitInitializationMode(fmi3Instance instance) { return fmi3OK; }
EXPORT fmi3Status fmi3Terminate(fmi3Instance instance) { return fmi3OK; }

#define ACCESS(name, type)                                                                                          \
    EXPORT fmi3Status fmi3Get##name(                                                                                \
        fmi3Instance instance, const fmi3ValueReference refs[], size_t n, type values[], size_t m)                  \
    {                                                                                                               \
        for (size_t i = 0; i < n; i++) values[i] = (type)((Boiler *)instance)->state.number[refs[i]];               \
        return fmi3OK;                                                                                              \
    }                                                                                                               \
    EXPORT fmi3Status fmi3Set##name(                                                                                \
        fmi3Instance instance, const fmi3ValueReference refs[], size_t n, const type values[], size_t m)            \
    {                                                                                                               \
        for (size_t i = 0; i < n; i++) ((Boiler *)instance)->state.number[refs[i]] = (double)values[i];             \
        return fmi3OK;                                                                                              \
    }

ACCESS(Float64, fmi3Float64)
ACCESS(Int32, fmi3Int32)
ACCESS(Boolean, fmi3Boolean)

EXPORT fmi3Status fmi3SetString(
    fmi3Instance instance, const fmi3ValueReference refs[], size_t n, const fmi3String values[], size_t m)
{
    strncpy(((Boiler *)instance)->state.label, values[0], sizeof(((Boiler *)instance)->state.label) - 1);
    return fmi3OK;
}

EXPORT fmi3Status fmi3DoStep(
    fmi3Instance instance, fmi3Float64 time, fmi3Float64 step, fmi3Boolean forward, fmi3Boolean *event, fmi3Boolean *end,
    fmi3Boolean *early, fmi3Float64 *reached)
{
    Boiler *boiler = instance;
    double *x = boiler->state.number, hours = step / 3600.0;
    *event = *early = false, *end = time >= x[END_AT_S], *reached = time + step;
    if (time >= x[FAIL_AT_S]) {
        boiler->log(boiler->environment, fmi3Error, "logStatusError", "the heating element is broken");
        return fmi3Error;
    }
    double room = x[E_MAX_KWH] * (1.0 - x[CHARGE] / 100.0) / hours + x[DRAW_KW];
    double wanted = fmin(fmax(x[P_SET_KW], 0.0), fmin(x[P_MAX_KW], room));
    double on = x[ENABLE] > 0.0 ? floor(wanted / x[P_MAX_KW] * x[LEGS] + 1e-9) / x[LEGS] : 0.0;
    x[P_W] = 1000.0 * on * x[P_MAX_KW];
    x[CHARGE] += 100.0 * (on * x[P_MAX_KW] - x[DRAW_KW]) * hours / x[E_MAX_KWH];
    x[TIME] = time + step;
    return fmi3OK;
}

EXPORT fmi3Status fmi3GetFMUState(fmi3Instance instance, fmi3FMUState *state)
{
    if (*state == NULL) *state = malloc(sizeof(State));
    memcpy(*state, &((Boiler *)instance)->state, sizeof(State));
    return fmi3OK;
}

EXPORT fmi3Status fmi3SetFMUState(fmi3Instance instance, fmi3FMUState state)
{
    memcpy(&((Boiler *)instance)->state, state, sizeof(State));
    return fmi3OK;
}

EXPORT fmi3Status fmi3FreeFMUState(fmi3Instance instance, fmi3FMUState *state)
{
    free(*state);
    *state = NULL;
    return fmi3OK;
}

EXPORT fmi3Status fmi3SerializedFMUStateSize(fmi3Instance instance, fmi3FMUState state, size_t *size)
{
    *size = sizeof(State);
    return fmi3OK;
}

EXPORT fmi3Status fmi3SerializeFMUState(fmi3Instance instance, fmi3FMUState state, fmi3Byte bytes[], size_t size)
{
    memcpy(bytes, state, sizeof(State));
    return fmi3OK;
}

EXPORT fmi3Status fmi3DeserializeFMUState(fmi3Instance instance, const fmi3Byte bytes[], size_t size, fmi3FMUState *state)
{
    if (*state == NULL) *state = malloc(sizeof(State));
    memcpy(*state, bytes, sizeof(State));
    return fmi3OK;
}

/* What the standard wants to be there, and this unit does not do. */
#define REFUSE(name) EXPORT fmi3Status name() { return fmi3Error; }

REFUSE(fmi3SetDebugLogging) REFUSE(fmi3EnterEventMode) REFUSE(fmi3Reset) REFUSE(fmi3EnterStepMode)
REFUSE(fmi3GetFloat32) REFUSE(fmi3GetInt8) REFUSE(fmi3GetUInt8) REFUSE(fmi3GetInt16) REFUSE(fmi3GetUInt16)
REFUSE(fmi3GetUInt32) REFUSE(fmi3GetInt64) REFUSE(fmi3GetUInt64) REFUSE(fmi3GetString) REFUSE(fmi3GetBinary)
REFUSE(fmi3GetClock) REFUSE(fmi3SetFloat32) REFUSE(fmi3SetInt8) REFUSE(fmi3SetUInt8) REFUSE(fmi3SetInt16)
REFUSE(fmi3SetUInt16) REFUSE(fmi3SetUInt32) REFUSE(fmi3SetInt64) REFUSE(fmi3SetUInt64) REFUSE(fmi3SetBinary)
REFUSE(fmi3SetClock) REFUSE(fmi3GetNumberOfVariableDependencies) REFUSE(fmi3GetVariableDependencies)
REFUSE(fmi3GetDirectionalDerivative) REFUSE(fmi3GetAdjointDerivative) REFUSE(fmi3EnterConfigurationMode)
REFUSE(fmi3ExitConfigurationMode) REFUSE(fmi3GetIntervalDecimal) REFUSE(fmi3GetIntervalFraction)
REFUSE(fmi3GetShiftDecimal) REFUSE(fmi3GetShiftFraction) REFUSE(fmi3SetIntervalDecimal)
REFUSE(fmi3SetIntervalFraction) REFUSE(fmi3SetShiftDecimal) REFUSE(fmi3SetShiftFraction)
REFUSE(fmi3EvaluateDiscreteStates) REFUSE(fmi3UpdateDiscreteStates) REFUSE(fmi3GetOutputDerivatives)
REFUSE(fmi3ActivateModelPartition)
REFUSE(fmi3CompletedIntegratorStep) REFUSE(fmi3EnterContinuousTimeMode) REFUSE(fmi3GetContinuousStateDerivatives)
REFUSE(fmi3GetContinuousStates) REFUSE(fmi3GetEventIndicators) REFUSE(fmi3GetNominalsOfContinuousStates)
REFUSE(fmi3GetNumberOfContinuousStates) REFUSE(fmi3GetNumberOfEventIndicators) REFUSE(fmi3SetContinuousStates)
REFUSE(fmi3SetTime)
EXPORT fmi3Instance fmi3InstantiateModelExchange() { return NULL; }
EXPORT fmi3Instance fmi3InstantiateScheduledExecution() { return NULL; }
