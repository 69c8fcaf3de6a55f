// group.hpp: a part of the root struct that is used more than once.
//
//   Shape      that of T, whose members are called `name.member`
//   Errors     those of its members
#pragma once

#include <utility>

#include <lagoon/detail/member_of_arena.hpp>

namespace lagoon::inline v1 {

namespace detail {
/// Empty: begins the group's prefix before the members of T are constructed.
// Of a type of its own for every T: two bases of one type could not lie at one address, and a
// group that begins with a group would get bytes that belong to no member.
template <class T>
struct GroupBegin {
    GroupBegin(void* object, const char* name) { push_group(object, name); }
};
}  // namespace detail

/// `Group<Shard> east{"east"}, west{"west"};` gives the members `east.hits` and `west.hits`.
template <class T>
struct Group : private detail::GroupBegin<T>, public T {
    template <class... Args>
    explicit Group(const char* name, Args&&... args)
        : detail::GroupBegin<T>{this, name}, T{std::forward<Args>(args)...} {
        detail::pop_group(this);
    }
};

}  // namespace lagoon::inline v1
