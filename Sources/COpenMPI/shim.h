#ifndef UNDERSTUDY_OPEN_MPI_SHIM_H
#define UNDERSTUDY_OPEN_MPI_SHIM_H

// Open MPI's constants are macros that Swift can't read.
#include <mpi.h>

static inline MPI_Comm understudy_mpi_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Datatype understudy_mpi_byte(void) { return MPI_BYTE; }
static inline MPI_Datatype understudy_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype understudy_mpi_double(void) { return MPI_DOUBLE; }
static inline int understudy_mpi_test(MPI_Request *_Nonnull request, int *_Nonnull done) {
    return MPI_Test(request, done, MPI_STATUS_IGNORE);
}

#endif
