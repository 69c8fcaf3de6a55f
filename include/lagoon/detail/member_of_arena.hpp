// member_of_arena.hpp: how an object enters the directory while its struct is constructed.
//
//   Errors     constructed outside an arena's struct, a name taken twice or not allowed, a
//              second construction that differs from the first: `Error` naming the member
//
// The constructors of a root struct run in scratch memory first, which gives the arena's size,
// and again in the arena. In both, every member calls `register_object`.
#pragma once

#include <cstdint>
#include <string>

#include <lagoon/detail/layout.hpp>

namespace lagoon::inline v1::detail {

struct ObjectDescription {
    Kind kind = Kind::none;
    const char* name = "";
    std::string element_type;
    std::uint64_t element_bytes = 0;
    std::uint64_t element_align = 0;
    std::uint64_t element_shape = 0;
    std::uint64_t object_bytes = 0;
    std::uint64_t extent = 0;
    std::uint64_t storage_bytes = 0;
    std::uint64_t storage_align = cache_line_bytes;
};

/// Enters `object` into the directory under construction and reserves its storage, which is
/// all zero bytes. Returns where the storage lies; `from_object` is 0 when there is none.
Storage register_object(void* object, const ObjectDescription& description);

/// Reserves this object's place among the stripes of every lane: bytes from the object to lane
/// 0's stripe. The stripes of eight objects share each lane's cache line; `whole`: it is of this
/// object alone.
Storage register_stripes(void* object, ObjectDescription description, bool whole = false);

/// Puts `name` and a dot before the names of all members constructed until `pop_group`.
void push_group(void* object, const char* name);
void pop_group(void* object) noexcept;

}  // namespace lagoon::inline v1::detail
