// arena_safe.hpp: which types may lie in memory that every process maps at another address.
//
//   Shape      trivially copyable and assignable; no pointer or reference in any field
//   Progress   compile time only
//   Errors     a compile error that says which field of which type is at fault and what to do
//
// Looked into: aggregates without base classes (up to 32 fields each, bit-fields too), arrays,
// std::array, std::optional, std::variant, std::complex, std::chrono. Everything else that is a
// class or a union promises its safety by `using lagoon_arena_safe = void;` and is then only
// asked to be trivially copyable: private data, constructors, bases, unions (also a struct with
// an anonymous union in it, which no compiler can take apart), a field that `{}` cannot
// initialise. The promise is inherited.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lagoon/detail/type_name.hpp>

namespace lagoon::inline v1 {

namespace detail {

enum class Hazard {
    none,
    pointer,
    reference,
    string_view,
    span,
    pair_or_tuple,
    union_type,
    bases,
    opaque_class,
    too_many_fields,
    unreadable_field,
    not_assignable,
    not_trivial,
    not_an_object
};

/// The first thing found wrong: `Culprit` is the type at fault, a field of `Inside`.
template <Hazard What, class Culprit = void, class Inside = void>
struct Finding {
    static constexpr Hazard hazard = What;
};

template <class T>
struct NamedHazard : Finding<Hazard::none> {};
template <class Char, class Traits>
struct NamedHazard<std::basic_string_view<Char, Traits>> : Finding<Hazard::string_view> {};
template <class T, std::size_t Extent>
struct NamedHazard<std::span<T, Extent>> : Finding<Hazard::span> {};
template <class First, class Second>
struct NamedHazard<std::pair<First, Second>> : Finding<Hazard::pair_or_tuple> {};
template <class... T>
struct NamedHazard<std::tuple<T...>> : Finding<Hazard::pair_or_tuple> {};
template <class T>
struct NamedHazard<std::reference_wrapper<T>> : Finding<Hazard::reference> {};

template <class T, class Inside>
constexpr auto inspect() noexcept;

template <class Inside>
constexpr auto inspect_each(TypeList<>) noexcept {
    return Finding<Hazard::none>{};
}
template <class Inside, class First, class... Rest>
constexpr auto inspect_each(TypeList<First, Rest...>) noexcept {
    using Found = decltype(inspect<First, Inside>());
    if constexpr (Found::hazard != Hazard::none) {
        return Found{};
    } else {
        return inspect_each<Inside>(TypeList<Rest...>{});
    }
}
template <class Inside>
constexpr auto inspect_each(TooManyFields) noexcept {
    return Finding<Hazard::too_many_fields, Inside, Inside>{};
}
template <class Inside>
constexpr auto inspect_each(UnreadableField) noexcept {
    return Finding<Hazard::unreadable_field, Inside, Inside>{};
}

template <class T, class Inside>
constexpr auto inspect_parts() noexcept {
    if constexpr (StdParts<T>::known) {
        return inspect_each<T>(typename StdParts<T>::Parts{});
    } else if constexpr (OptedIn<T>) {
        return Finding<Hazard::none>{};
    } else if constexpr (std::is_union_v<T>) {
        return Finding<Hazard::union_type, T, Inside>{};
    } else if constexpr (Walkable<T>) {
        return inspect_each<T>(fields_of<T>());
    } else if constexpr (!std::is_trivially_copyable_v<T>) {
        return Finding<Hazard::not_trivial, T, Inside>{};
    } else if constexpr (std::is_aggregate_v<T>) {
        return Finding<Hazard::bases, T, Inside>{};
    } else {
        return Finding<Hazard::opaque_class, T, Inside>{};
    }
}

template <class T, class Inside>
constexpr auto inspect_class() noexcept {
    using Parts = decltype(inspect_parts<T, Inside>());
    if constexpr (Parts::hazard != Hazard::none) {
        return Parts{};
    } else if constexpr (Walkable<T> && !std::is_copy_assignable_v<T> &&
                         !std::is_move_assignable_v<T>) {
        // What a reference field that `{}` binds to a temporary is found by: the list of fields
        // has lost the reference.
        return Finding<Hazard::not_assignable, T, Inside>{};
    } else if constexpr (!std::is_trivially_copyable_v<T>) {
        return Finding<Hazard::not_trivial, T, Inside>{};
    } else {
        return Finding<Hazard::none>{};
    }
}

template <class T, class Inside>
constexpr auto inspect() noexcept {
    using Bare = std::remove_cv_t<T>;
    if constexpr (std::is_reference_v<Bare>) {
        return Finding<Hazard::reference, T, Inside>{};
    } else if constexpr (std::is_pointer_v<Bare> || std::is_member_pointer_v<Bare> ||
                         std::is_null_pointer_v<Bare>) {
        return Finding<Hazard::pointer, T, Inside>{};
    } else if constexpr (std::is_void_v<Bare> || std::is_function_v<Bare> ||
                         std::is_unbounded_array_v<Bare>) {
        return Finding<Hazard::not_an_object, T, Inside>{};
    } else if constexpr (NamedHazard<Bare>::hazard != Hazard::none) {
        return Finding<NamedHazard<Bare>::hazard, T, Inside>{};
    } else if constexpr (ArrayParts<Bare>::known) {
        return inspect<typename ArrayParts<Bare>::Element, Inside>();
    } else if constexpr (std::is_class_v<Bare> || std::is_union_v<Bare>) {
        return inspect_class<Bare, Inside>();
    } else {
        return Finding<Hazard::none>{};
    }
}

/// What keeps `T` out of an arena, `Hazard::none` if nothing does.
template <class T>
constexpr Hazard hazard_of() noexcept {
    return decltype(inspect<T, T>())::hazard;
}

/// Nothing for a safe `Element`; otherwise one sentence, and the compiler's notes show the types.
template <class Element, Hazard What, class Culprit, class Inside>
constexpr void refuse(Finding<What, Culprit, Inside>) noexcept {
    static_assert(What != Hazard::pointer,
                  "lagoon: the element type holds a pointer, and every process maps the arena at "
                  "another address: store an index, an offset or a lagoon::String<N>");
    static_assert(What != Hazard::reference,
                  "lagoon: the element type holds a reference, and every process maps the arena "
                  "at another address: store an index or the value itself");
    static_assert(What != Hazard::string_view,
                  "lagoon: std::string_view points into one process: use lagoon::String<N>");
    static_assert(What != Hazard::span,
                  "lagoon: std::span points into one process: use std::array or a lagoon::Array");
    static_assert(What != Hazard::pair_or_tuple,
                  "lagoon: std::pair and std::tuple are not trivially copyable: use a struct");
    static_assert(What != Hazard::union_type,
                  "lagoon: a union cannot be looked into: use std::variant, or promise that no "
                  "alternative holds a pointer with `using lagoon_arena_safe = void;` in it");
    static_assert(What != Hazard::bases,
                  "lagoon: a class with bases cannot be looked into: make the base a field, or "
                  "promise that it holds no pointer with `using lagoon_arena_safe = void;` in it");
    static_assert(What != Hazard::opaque_class,
                  "lagoon: a class with constructors or private data cannot be looked into: "
                  "promise that it holds no pointer with `using lagoon_arena_safe = void;` in it");
    static_assert(What != Hazard::too_many_fields,
                  "lagoon: more than 32 fields: group some in nested structs");
    static_assert(What != Hazard::unreadable_field,
                  "lagoon: `{}` does not initialise one of the fields (a reference, or a class "
                  "without a default constructor): remove it, give it a default constructor, or "
                  "promise that the struct holds no pointer with `using lagoon_arena_safe = void;` "
                  "in it");
    static_assert(What != Hazard::not_assignable,
                  "lagoon: a field is a reference or const, so the struct cannot be assigned: "
                  "elements of an arena are stored by assignment");
    static_assert(What != Hazard::not_trivial,
                  "lagoon: the type is not trivially copyable: for std::string use "
                  "lagoon::String<N>, for std::vector std::array; no virtual functions, no copy "
                  "constructor or destructor of its own");
    static_assert(What != Hazard::not_an_object, "lagoon: an element type must be an object type");
}

/// Stops the compilation with a sentence if `T` may not lie in an arena. Called by constructors
/// of members and not at class scope: there a struct nested in the user's, with default member
/// initialisers, is not complete enough to be looked into.
template <class T>
constexpr void require_arena_safe() noexcept {
    refuse<T>(inspect<T, T>());
}

}  // namespace detail

/// May lie in an arena: see the head of this file. Not for class scope, see require_arena_safe.
template <class T>
concept ArenaSafe = (detail::hazard_of<T>() == detail::Hazard::none);

}  // namespace lagoon::inline v1
