// plain.cpp: plain accesses of the code under test, as thread sanitizer's instrumentation reports
// them, and the library functions that it leaves out.
//
// The code under test is compiled with -fsanitize=thread and linked with this file instead of the
// sanitizer's runtime. A plain access is no step: nobody comes in between, but it must be ordered
// with every other access to the same bytes by acquire and release.
#include <cstring>
#include <utility>

#include "heap.hpp"
#include "world.hpp"

namespace model {

Memory::Shadow& Memory::shadow(const void* at, std::size_t granule) {
    Shadow& found = shadows_[offset_of(at) / 4 + granule];
    if (found.execution != execution_) {
        found = {};
        found.execution = execution_;
    }
    return found;
}

void Memory::rehash(Shadow& shadow, std::uint64_t place, std::uint64_t extra) {
    const std::uint64_t hash = mix(mix(place, shadow.written + extra), hash_of(shadow.read));
    hash_ += hash - shadow.hash;
    shadow.hash = hash;
}

void Memory::plain_read(int actor, const void* at, std::size_t bytes) {
    const Clock& clock = known_[actor].clock;
    const std::size_t first = offset_of(at) / 4;
    const std::size_t last = (offset_of(at) + bytes - 1) / 4;
    for (std::size_t i = 0; i <= last - first; ++i) {
        Shadow& word = shadow(at, i);
        if (word.writer >= 0 && word.written > clock[static_cast<std::size_t>(word.writer)]) {
            fail("a plain read at +" + std::to_string((first + i) * 4) +
                 " races with a plain write");
        }
        if (word.read[actor] == clock[actor]) continue;
        word.read[actor] = clock[actor];
        rehash(word, first + i, 0);
    }
}

void Memory::plain_write(int actor, const void* at, std::size_t bytes, std::uint64_t state) {
    const Clock& clock = known_[actor].clock;
    const std::size_t first = offset_of(at) / 4;
    const std::size_t last = (offset_of(at) + bytes - 1) / 4;
    for (std::size_t i = 0; i <= last - first; ++i) {
        Shadow& word = shadow(at, i);
        bool ordered =
            word.writer < 0 || word.written <= clock[static_cast<std::size_t>(word.writer)];
        for (std::size_t a = 0; a < word.read.size(); ++a) {
            ordered = ordered && word.read[a] <= clock[a];
        }
        if (!ordered) {
            fail("a plain write at +" + std::to_string((first + i) * 4) +
                 " races with a plain access");
        }
        word.writer = actor;
        word.written = clock[actor];
        word.read = {};
        rehash(word, first + i, state);
    }
}

namespace {

void reads(const void* at, std::size_t bytes) {
    if (heap::owner() == heap::Of::engine || bytes == 0) return;
    World& all = world();
    if (!all.inside() || !all.memory.is_shared(at)) return;
    const heap::EngineScope scope;
    all.memory.plain_read(all.current(), at, bytes);
    std::uint64_t value = 0;
    std::memcpy(&value, at, bytes < 8 ? bytes : 8);
    all.observe(value);
}

void writes(void* at, std::size_t bytes) {
    if (heap::owner() == heap::Of::engine || bytes == 0) return;
    World& all = world();
    if (!all.inside() || !all.memory.is_shared(at)) return;
    const heap::EngineScope scope;
    all.observe(2);
    all.memory.plain_write(all.current(), at, bytes, all.state_of_current());
}

}  // namespace

}  // namespace model

// The names are the sanitizer's and the linker's.
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wreserved-identifier"
#pragma GCC diagnostic ignored "-Wmissing-declarations"

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read1(void* at) { model::reads(at, 1); }
void __tsan_read2(void* at) { model::reads(at, 2); }
void __tsan_read4(void* at) { model::reads(at, 4); }
void __tsan_read8(void* at) { model::reads(at, 8); }
void __tsan_read16(void* at) { model::reads(at, 16); }
void __tsan_write1(void* at) { model::writes(at, 1); }
void __tsan_write2(void* at) { model::writes(at, 2); }
void __tsan_write4(void* at) { model::writes(at, 4); }
void __tsan_write8(void* at) { model::writes(at, 8); }
void __tsan_write16(void* at) { model::writes(at, 16); }
void __tsan_unaligned_read2(void* at) { model::reads(at, 2); }
void __tsan_unaligned_read4(void* at) { model::reads(at, 4); }
void __tsan_unaligned_read8(void* at) { model::reads(at, 8); }
void __tsan_unaligned_read16(void* at) { model::reads(at, 16); }
void __tsan_unaligned_write2(void* at) { model::writes(at, 2); }
void __tsan_unaligned_write4(void* at) { model::writes(at, 4); }
void __tsan_unaligned_write8(void* at) { model::writes(at, 8); }
void __tsan_unaligned_write16(void* at) { model::writes(at, 16); }
void __tsan_read_range(void* at, std::size_t bytes) { model::reads(at, bytes); }
void __tsan_write_range(void* at, std::size_t bytes) { model::writes(at, bytes); }
void __tsan_vptr_update(void** at, void*) { model::writes(at, 8); }
void __tsan_vptr_read(void** at) { model::reads(at, 8); }

void* __real_memcpy(void* into, const void* from, std::size_t bytes);
void* __real_memmove(void* into, const void* from, std::size_t bytes);
void* __real_memset(void* into, int value, std::size_t bytes);

void* __wrap_memcpy(void* into, const void* from, std::size_t bytes) {
    model::reads(from, bytes);
    model::writes(into, bytes);
    return __real_memcpy(into, from, bytes);
}
void* __wrap_memmove(void* into, const void* from, std::size_t bytes) {
    model::reads(from, bytes);
    model::writes(into, bytes);
    return __real_memmove(into, from, bytes);
}
void* __wrap_memset(void* into, int value, std::size_t bytes) {
    model::writes(into, bytes);
    return __real_memset(into, value, bytes);
}
void* __tsan_memcpy(void* into, const void* from, std::size_t bytes) {
    return __wrap_memcpy(into, from, bytes);
}
void* __tsan_memmove(void* into, const void* from, std::size_t bytes) {
    return __wrap_memmove(into, from, bytes);
}
void* __tsan_memset(void* into, int value, std::size_t bytes) {
    return __wrap_memset(into, value, bytes);
}

// Atomics of the standard library's own, in private memory of one thread.
unsigned char __tsan_atomic8_load(const unsigned char* at, int) { return *at; }
unsigned __tsan_atomic32_load(const unsigned* at, int) { return *at; }
void __tsan_atomic32_store(unsigned* at, unsigned value, int) { *at = value; }
unsigned __tsan_atomic32_exchange(unsigned* at, unsigned value, int) {
    return std::exchange(*at, value);
}
unsigned __tsan_atomic32_fetch_add(unsigned* at, unsigned operand, int) {
    return std::exchange(*at, *at + operand);
}
unsigned __tsan_atomic32_fetch_sub(unsigned* at, unsigned operand, int) {
    return std::exchange(*at, *at - operand);
}
int __tsan_atomic32_compare_exchange_strong(unsigned* at, unsigned* expected, unsigned desired, int,
                                            int) {
    if (*at != *expected) {
        *expected = *at;
        return 0;
    }
    *at = desired;
    return 1;
}
unsigned __tsan_atomic32_compare_exchange_val(unsigned* at, unsigned expected, unsigned desired,
                                              int, int) {
    return *at == expected ? std::exchange(*at, desired) : *at;
}
int __tsan_atomic32_compare_exchange_weak(unsigned* at, unsigned* expected, unsigned desired,
                                          int success, int failure) {
    return __tsan_atomic32_compare_exchange_strong(at, expected, desired, success, failure);
}

}  // extern "C"
