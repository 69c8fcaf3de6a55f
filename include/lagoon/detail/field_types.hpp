// field_types.hpp: the types of an aggregate's fields.
//
// Fields are found without reflection: the number of `{}` that initialise an aggregate is the
// number of its fields (an argument without braces would run into an array field and be counted
// once for each of its elements), and structured bindings of that number give the types.
#pragma once

#include <type_traits>
#include <utility>

namespace lagoon::inline v1::detail {

template <class... T>
struct TypeList {};
struct TooManyFields {};    // more than 32
struct UnreadableField {};  // `{}` does not initialise one: a reference, no default constructor

template <class... Fields>
constexpr TypeList<Fields...> list(const Fields&...) noexcept {  // by const&: a bit-field binds
    return {};
}

// One line per number of fields, longest first: with fewer `{}` than fields the rest is defaulted.
// clang-format off
template <class T>
constexpr auto fields_1_to_12(T& whole) {
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l] = whole; return list(a,b,c,d,e,f,g,h,i,j,k,l); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k] = whole; return list(a,b,c,d,e,f,g,h,i,j,k); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j] = whole; return list(a,b,c,d,e,f,g,h,i,j); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i] = whole; return list(a,b,c,d,e,f,g,h,i); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h] = whole; return list(a,b,c,d,e,f,g,h); } else
    if constexpr (requires { T{{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g] = whole; return list(a,b,c,d,e,f,g); } else
    if constexpr (requires { T{{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f] = whole; return list(a,b,c,d,e,f); } else
    if constexpr (requires { T{{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e] = whole; return list(a,b,c,d,e); } else
    if constexpr (requires { T{{},{},{},{}}; }) {
        auto& [a,b,c,d] = whole; return list(a,b,c,d); } else
    if constexpr (requires { T{{},{},{}}; }) { auto& [a,b,c] = whole; return list(a,b,c); } else
    if constexpr (requires { T{{},{}}; }) { auto& [a,b] = whole; return list(a,b); } else
    if constexpr (requires { T{{}}; }) { auto& [a] = whole; return list(a); } else
    return UnreadableField{};
}

template <class T>
constexpr auto fields_13_to_22(T& whole) {
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m] = whole; return list(a,b,c,d,e,f,g,h,i,j,k,l,m); } else
    return fields_1_to_12(whole);
}

template <class T>
constexpr auto fields_23_to_32(T& whole) {
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{},{},{},{},{},{}}; }) {
        return TooManyFields{}; } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {},{}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x); } else
    if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},
            {}}; }) {
        auto& [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w] = whole;
        return list(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w); } else
    return fields_13_to_22(whole);
}
// clang-format on

/// Converts to the bases of `T` only, so that it can begin an aggregate only where a base does.
template <class T>
struct AnyBaseOf {
    template <class Base>
    requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>) operator Base() const;
};
template <class T>
concept HasBases = requires(AnyBaseOf<T> base) {
    T{base};
};

/// A class that promises by `using lagoon_arena_safe = void;` what cannot be looked into.
template <class T>
concept OptedIn = requires {
    typename T::lagoon_arena_safe;
};

/// An aggregate whose fields can be listed (or that says why they cannot).
template <class T>
concept Walkable = std::is_class_v<T> && std::is_aggregate_v<T> && !OptedIn<T> && !HasBases<T>;

template <Walkable T>
constexpr auto fields_of() noexcept {
    if constexpr (std::is_empty_v<T>) {
        return TypeList<>{};
    } else {
        return decltype(fields_23_to_32(std::declval<T&>())){};
    }
}

}  // namespace lagoon::inline v1::detail
