// construction.cpp: how the members of a root struct enter its directory.
#include "construction.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include <lagoon/error.hpp>

#include "os.hpp"

namespace lagoon::inline v1::detail {

namespace {

constinit thread_local Construction* under_way = nullptr;

constexpr std::uint32_t stripes_per_line = cache_line_bytes / sizeof(std::uint64_t);

bool is_name(std::string_view name) noexcept {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
    });
}

const char* kind_name(std::uint32_t kind) noexcept {
    switch (static_cast<Kind>(kind)) {
        case Kind::counter: return "Counter";
        case Kind::sharded_counter: return "ShardedCounter";
        case Kind::value: return "Value";
        case Kind::array: return "Array";
        case Kind::lock: return "Lock";
        case Kind::pool: return "Pool";
        case Kind::none: break;
    }
    return "unknown";
}

std::byte* map_scratch(std::uint64_t bytes) {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw Error{Errc::no_space,
                    "no address space for a trial construction of " + std::to_string(bytes) +
                        " bytes: " + os::error_text(errno),
                    errno};
    }
    return static_cast<std::byte*>(memory);
}

}  // namespace

void MappingFree::operator()(std::byte* memory) const noexcept { ::munmap(memory, bytes); }

void copy_text(char* into, std::size_t room, std::string_view text) noexcept {
    const std::size_t length = std::min(text.size(), room - 1);
    std::memcpy(into, text.data(), length);
    std::memset(into + length, 0, room - length);
}

Construction::Construction(const RootType& type, std::uint32_t lanes) : type_{type}, lanes_{lanes} {
    const std::uint64_t bytes = round_up(std::max<std::uint64_t>(type.bytes, 1), page_bytes);
    scratch_.emplace_back(map_scratch(bytes), MappingFree{bytes});
    root_ = scratch_.back().get();
}

Construction::Construction(const RootType& type, std::uint32_t lanes, std::byte* base,
                           std::uint64_t root_offset, std::uint64_t storage_offset,
                           std::uint64_t limit)
    : type_{type},
      lanes_{lanes},
      root_{base + root_offset},
      base_{base},
      storage_offset_{storage_offset},
      limit_{limit} {}

Construction::~Construction() = default;

Construction* Construction::current() noexcept { return under_way; }

void Construction::run(const std::string& what) {
    outer_ = under_way;
    under_way = this;
    struct Restore {
        Construction* outer;
        ~Restore() { under_way = outer; }
    } restore{outer_};
    type_.construct(root_);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> covered;
    for (const auto& entry : directory_) {
        covered.emplace_back(entry.object_offset, entry.object_offset + entry.object_bytes);
    }
    std::sort(covered.begin(), covered.end());
    std::uint64_t reached = 0;
    covered.emplace_back(type_.bytes, type_.bytes);
    for (const auto& [begin, end] : covered) {
        // An empty struct has one byte, which is nobody's.
        if (begin > reached && !(directory_.empty() && type_.bytes == 1)) {
            throw Error{Errc::bad_layout, what + ": " + std::to_string(begin - reached) +
                                              " bytes at offset " + std::to_string(reached) +
                                              " of its struct belong to no member; put plain "
                                              "fields into a lagoon::Value"};
        }
        reached = std::max(reached, end);
    }
}

std::string Construction::full_name(const char* name) const {
    std::string full;
    for (const auto& group : groups_) full += group + ".";
    return full + name;
}

std::byte* Construction::reserve(std::uint64_t bytes, std::uint64_t align, std::uint64_t* offset) {
    const std::uint64_t begin = round_up(cursor_, std::max<std::uint64_t>(align, 8));
    if (bytes > (std::uint64_t{1} << 47) || begin + bytes > (std::uint64_t{1} << 47)) {
        throw Error{Errc::too_large, "the struct's members want more than 2^47 bytes"};
    }
    cursor_ = begin + bytes;
    *offset = storage_offset_ + begin;
    if (base_ == nullptr) {
        const std::uint64_t room = round_up(std::max<std::uint64_t>(bytes, 1), page_bytes);
        scratch_.emplace_back(map_scratch(room), MappingFree{room});
        return scratch_.back().get();
    }
    if (cursor_ > limit_) {
        throw Error{Errc::bad_layout,
                    "the struct's constructor is not deterministic: its second run wants more "
                    "storage than its first"};
    }
    return base_ + *offset;
}

Storage Construction::add(void* object, const ObjectDescription& description, Stripes stripes) {
    const std::string name = full_name(description.name);
    const auto* at = static_cast<std::byte*>(object);
    if (at < root_ || at + description.object_bytes > root_ + type_.bytes) {
        throw Error{Errc::bad_layout, "'" + name +
                                          "' is constructed outside of the arena's struct: make "
                                          "it a member of the struct"};
    }
    if (!is_name(description.name) || name.size() >= name_limit) {
        throw Error{Errc::bad_name, "member name '" + name + "' must have 1 to " +
                                        std::to_string(name_limit - 1) +
                                        " of the characters A-Za-z0-9._-"};
    }
    DirectoryEntry entry{};
    copy_text(entry.name.data(), name_limit, name);
    for (const auto& other : directory_) {
        if (other.name == entry.name && description.kind != Kind::none) {
            throw Error{Errc::name_taken,
                        "two members of the arena's struct are called '" + name + "'"};
        }
    }
    copy_text(entry.element_type.data(), type_limit, description.element_type);
    entry.kind = static_cast<std::uint32_t>(description.kind);
    entry.element_align = static_cast<std::uint32_t>(description.element_align);
    entry.element_bytes = description.element_bytes;
    entry.element_shape = description.element_shape;
    entry.object_offset = static_cast<std::uint64_t>(at - root_);
    entry.object_bytes = description.object_bytes;
    entry.extent = description.extent;
    Storage storage{0, description.extent};
    if (stripes == Stripes::whole) {
        std::uint64_t offset = 0;
        std::byte* lines =
            reserve(std::uint64_t{lanes_} * cache_line_bytes, cache_line_bytes, &offset);
        return {lines - at, lanes_};
    }
    if (stripes == Stripes::shared) {
        if (stripe_block_ == nullptr || stripes_used_ == stripes_per_line) {
            stripe_block_ = reserve(std::uint64_t{lanes_} * cache_line_bytes, cache_line_bytes,
                                    &stripe_offset_);
            stripes_used_ = 0;
        }
        const std::uint64_t within = std::uint64_t{stripes_used_++} * sizeof(std::uint64_t);
        storage = {stripe_block_ + within - at, lanes_};
        if (description.kind == Kind::sharded_counter) {
            entry.extent = lanes_;
            entry.storage_offset = stripe_offset_ + within;
            entry.storage_bytes = (std::uint64_t{lanes_} - 1) * cache_line_bytes + 8;
        }
    } else if (description.storage_bytes > 0) {
        std::byte* memory =
            reserve(description.storage_bytes, description.storage_align, &entry.storage_offset);
        storage = {memory - at, description.extent};
        entry.storage_bytes = description.storage_bytes;
    }
    directory_.push_back(entry);
    return storage;
}

void Construction::push(const void* object, const char* name) {
    const auto* at = static_cast<const std::byte*>(object);
    if (at < root_ || at >= root_ + type_.bytes || !is_name(name)) {
        throw Error{Errc::bad_name,
                    std::string{"group '"} + name +
                        "' must lie in the arena's struct and be named with A-Za-z0-9._-"};
    }
    groups_.emplace_back(name);
}

void Construction::pop() noexcept { groups_.pop_back(); }

std::string type_text(const DirectoryEntry& entry) {
    std::string text = kind_name(entry.kind);
    const auto kind = static_cast<Kind>(entry.kind);
    if (kind == Kind::value || kind == Kind::array || kind == Kind::pool) {
        text += std::string{"<"} + entry.element_type.data() + ">";
    }
    return text;
}

void require_same_directory(const std::string& arena, const DirectoryEntry* ours,
                            std::size_t our_count, const DirectoryEntry* theirs,
                            std::size_t their_count, const char* us, const char* them) {
    const auto fail = [&](const std::string& text) {
        throw Error{Errc::layout_mismatch, "arena '" + arena + "': " + text};
    };
    for (std::size_t i = 0; i < std::min(our_count, their_count); ++i) {
        const DirectoryEntry& a = ours[i];
        const DirectoryEntry& b = theirs[i];
        const std::string name = a.name.data();
        if (a.name != b.name) {
            fail("member " + std::to_string(i) + " is '" + name + "' in " + us + " and '" +
                 b.name.data() + "' in " + them);
        }
        if (a.kind != b.kind || a.element_type != b.element_type) {
            fail("member '" + name + "' is " + type_text(a) + " in " + us + " and " + type_text(b) +
                 " in " + them);
        }
        if (a.element_bytes != b.element_bytes || a.element_align != b.element_align) {
            fail("member '" + name + "': an element of " + type_text(a) + " has " +
                 std::to_string(a.element_bytes) + " bytes, alignment " +
                 std::to_string(a.element_align) + " in " + us + " and " +
                 std::to_string(b.element_bytes) + " bytes, alignment " +
                 std::to_string(b.element_align) + " in " + them);
        }
        if (a.element_shape != b.element_shape) {
            fail("member '" + name + "': the fields of " + a.element_type.data() +
                 " differ between " + us + " and " + them + "; build both from one source");
        }
        if (a.object_offset != b.object_offset || a.object_bytes != b.object_bytes) {
            fail("member '" + name + "' lies at offset " + std::to_string(a.object_offset) +
                 " in " + us + " and at " + std::to_string(b.object_offset) + " in " + them);
        }
    }
    if (our_count != their_count) {
        const bool more = our_count > their_count;
        const DirectoryEntry& extra = more ? ours[their_count] : theirs[our_count];
        fail(std::string{"member '"} + extra.name.data() + "' is only in " + (more ? us : them));
    }
}

namespace {
Construction& require_construction(const char* name) {
    Construction* current = Construction::current();
    if (current == nullptr) {
        throw Error{Errc::bad_layout,
                    std::string{"'"} + name +
                        "' is constructed outside of an arena: make it a member of a struct and "
                        "give that to lagoon::Arena"};
    }
    return *current;
}
}  // namespace

Storage register_object(void* object, const ObjectDescription& description) {
    return require_construction(description.name)
        .add(object, description, Construction::Stripes::none);
}

Storage register_stripes(void* object, ObjectDescription description, bool whole) {
    return require_construction(description.name)
        .add(object, description,
             whole ? Construction::Stripes::whole : Construction::Stripes::shared);
}

void push_group(void* object, const char* name) { require_construction(name).push(object, name); }

void pop_group(void*) noexcept { Construction::current()->pop(); }

}  // namespace lagoon::inline v1::detail
