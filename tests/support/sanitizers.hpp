// sanitizers.hpp: which sanitizer this is built with; g++ says so by macros, clang by features.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define LAGOON_TEST_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define LAGOON_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LAGOON_TEST_TSAN 1
#elif __has_feature(address_sanitizer)
#define LAGOON_TEST_ASAN 1
#endif
#endif

namespace support {

#ifdef LAGOON_TEST_TSAN
constexpr bool under_tsan = true;
#else
constexpr bool under_tsan = false;
#endif

#ifdef LAGOON_TEST_ASAN
constexpr bool under_asan = true;
#else
constexpr bool under_asan = false;
#endif

}  // namespace support
