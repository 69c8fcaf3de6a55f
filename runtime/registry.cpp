// registry.cpp: which arenas this process has mapped, and where.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include <lagoon/error.hpp>

#include "attachment.hpp"
#include "keeper.hpp"
#include "lanes.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t registry_size = 1024;
constexpr std::size_t reserved_ranges = 64;

// Append-only, so that an address can be looked up without a lock.
constinit std::array<Atomic<Attachment*>, registry_size> registry{};
constinit Atomic<std::uint32_t> registered{0};

/// Closed ranges, oldest first; under the process lock.
struct Range {
    void* at;
    std::uint64_t bytes;
};
std::vector<Range>& closed_ranges() {
    static auto& ranges = *new std::vector<Range>;
    return ranges;
}

template <class Each>
void each_attachment(Each&& each) noexcept {
    // G1 acquire load <- G2. kept: for what the constructor wrote, in private memory.
    const std::uint32_t count = registered.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < count; ++i) {
        // G3 relaxed load, no pair: published by G2.
        Attachment* attachment = registry[i].load(std::memory_order_relaxed);
        if (each(*attachment)) return;
    }
}

std::uintptr_t base_of(const Attachment& attachment) noexcept {
    // G4 acquire load <- G5. kept: as G6.
    return attachment.base.load(std::memory_order_acquire);
}

std::uint64_t bytes_of(const Attachment& attachment) noexcept {
    // G6 acquire load <- G7: all else about the mapping, which is plain. kept: in private memory.
    return attachment.bytes.load(std::memory_order_acquire);
}

}  // namespace

Attachment* attachment_of(const void* object) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    Attachment* found = nullptr;
    each_attachment([&](Attachment& attachment) {
        const bool inside = address - base_of(attachment) < bytes_of(attachment);
        if (inside) found = &attachment;
        return inside;
    });
    return found;
}

Attachment* find_attachment(const os::FileId& file,
                            const std::array<std::uint64_t, 2>& id) noexcept {
    Attachment* found = nullptr;
    each_attachment([&](Attachment& attachment) {
        const bool same =
            bytes_of(attachment) != 0 && attachment.file == file && attachment.header->id == id;
        if (same) found = &attachment;
        return same;
    });
    return found;
}

Attachment* new_attachment() {
    // An attachment that was closed is used again; its lanes and handles are gone.
    Attachment* free = nullptr;
    each_attachment([&](Attachment& attachment) {
        const bool unused = bytes_of(attachment) == 0 && attachment.handles == 0;
        if (unused) free = &attachment;
        return unused;
    });
    if (free != nullptr) {
        free->pools.clear();  // of one that was closed it has none; else they have no hooks
        return free;
    }
    // G8 relaxed load, no pair: changed under the process lock only.
    const std::uint32_t place = registered.load(std::memory_order_relaxed);
    if (place == registry_size) {
        throw Error{Errc::too_many_objects, "this process has " + std::to_string(registry_size) +
                                                " arenas open, and cannot have more; close "
                                                "some first"};
    }
    auto* fresh = new Attachment;
    // G9 relaxed store, no pair: published by G2.
    registry[place].store(fresh, std::memory_order_relaxed);
    // G2 release store -> G1. kept: as G1.
    registered.store(place + 1, std::memory_order_release);
    return fresh;
}

void publish_mapping(Attachment& attachment, void* base, std::uint64_t bytes) noexcept {
    attachment.header = static_cast<ArenaHeader*>(base);
    attachment.shared_lane.base = reinterpret_cast<std::uintptr_t>(base);
    attachment.shared_lane.shared = true;
    attachment.shared_lane.attachment = &attachment;
    attachment.shared_lane.set_size(bytes);
    // G5 release store -> G4. kept: as G6.
    attachment.base.store(reinterpret_cast<std::uintptr_t>(base), std::memory_order_release);
    // G7 release store -> G6: last, for a range of no bytes holds no address. kept: as G6.
    attachment.bytes.store(bytes, std::memory_order_release);
}

void retire_mapping(Attachment& attachment) noexcept {
    const std::uint64_t bytes = bytes_of(attachment);
    void* at = attachment.header;
    attachment.closed_bytes = bytes;
    // G7 release store -> G6. kept: as G6.
    attachment.bytes.store(0, std::memory_order_release);
    // One call replaces the arena by a reservation: no other mapping can land there in between.
    if (::mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
               0) == MAP_FAILED) {
        ::munmap(at, bytes);
        return;
    }
    auto& ranges = closed_ranges();
    try {
        ranges.push_back({at, bytes});
    } catch (...) {
        return;  // stays reserved for good
    }
    if (ranges.size() > reserved_ranges) {
        ::munmap(ranges.front().at, ranges.front().bytes);
        ranges.erase(ranges.begin());
    }
}

void make_attachments_foreign() noexcept {
    keeper_forget();
    forget_all_lanes();
    each_attachment([](Attachment& attachment) {
        // B8 relaxed store, no pair: this child has one thread so far.
        attachment.member_state.store(0, std::memory_order_relaxed);
        attachment.lock_page = nullptr;
        attachment.keeper = false;
        attachment.creator = false;
        attachment.prefaulted = false;  // fork copies no page tables of shared mappings
        // X1 relaxed store, no pair: the sleepers are the parent's.
        attachment.sleepers.store(0, std::memory_order_relaxed);
        // X1 relaxed store, no pair: so are the makers.
        attachment.makers.store(0, std::memory_order_relaxed);
        return false;
    });
}

int explain_address(const void* address, char* line, std::size_t room) noexcept {
    int length = 0;
    each_attachment([&](Attachment& attachment) {
        const auto offset = reinterpret_cast<std::uintptr_t>(address) - base_of(attachment);
        if (bytes_of(attachment) != 0 || offset >= attachment.closed_bytes) return false;
        length = std::snprintf(line, room,
                               "lagoon: a reference into arena '%s', offset %llu, is used after "
                               "close()\n",
                               attachment.name.c_str(), static_cast<unsigned long long>(offset));
        return true;
    });
    return std::min(length, static_cast<int>(room) - 1);
}

}  // namespace lagoon::inline v1::detail
