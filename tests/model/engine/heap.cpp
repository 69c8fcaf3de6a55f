// heap.cpp: the replaced operator new.
#include "heap.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace model::heap {

namespace {

constexpr std::size_t block_bytes = std::size_t{16} << 20;
alignas(64) std::byte block[block_bytes];
std::size_t used = 0;
Of owner_now = Of::engine;

void* allocate(std::size_t bytes, std::size_t align) {
    if (owner_now == Of::engine) {
        void* memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
        if (memory == nullptr) throw std::bad_alloc{};
        return memory;
    }
    const std::size_t begin = (used + align - 1) / align * align;
    if (begin + bytes > block_bytes) throw std::bad_alloc{};
    used = begin + bytes;
    return block + begin;
}

void release(void* memory) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(memory);
    if (at - reinterpret_cast<std::uintptr_t>(block) >= block_bytes) std::free(memory);
}

}  // namespace

void belongs_to(Of owner) noexcept { owner_now = owner; }
Of owner() noexcept { return owner_now; }
void reset() noexcept { used = 0; }

}  // namespace model::heap

void* operator new(std::size_t bytes) { return model::heap::allocate(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t align) {
    return model::heap::allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { model::heap::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { model::heap::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { model::heap::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    model::heap::release(memory);
}
