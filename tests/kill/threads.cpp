// threads.cpp: the C library's pthread_create(), as these tests have it.
#include "kill/threads.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>
#include <cstdlib>

namespace {

using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

Create real_create() {
    static const auto real = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
    if (real == nullptr) std::abort();
    return real;
}

/// Looked up before any operation begins.
const Create found_early = real_create();

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*run)(void*), void* with) noexcept {
    if (rig::threads_are_refused) return EAGAIN;
    return real_create()(thread, attributes, run, with);
}
