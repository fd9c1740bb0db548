;; Goes over the inside of a JSON string (RFC 8259) 32 bytes at a time, in the manner of simdjson: what a byte is becomes
;; one bit of a mask, the lowest for the first byte of a block, and masks are reckoned with instead of bytes.
;;
;; Masks have 64 bits for blocks of 32 bytes. What the end of a block says about the start of the next (an escape that
;; goes on) comes out in the upper half by itself, and is shifted down for the next block.
;;
;; `npm run wasm` compiles this file into json-string-scan-wasm.ts.
(module
  ;; The text is put at address 0, with room for 32 bytes behind it. The size is fixed, so that a view of it stays good.
  (memory (export "memory") 1 1)

  ;; Takes `length` bytes of text, of which the first one begins a character or an escape: nothing is kept between calls.
  ;; Gives the position of the first byte that ends the string or is wrong; of the backslash where an escape is wrong or
  ;; goes on behind the text; or `length`.
  (func (export "scan") (param $length i32) (result i32)
    (local $block i32) ;; where the current block begins
    (local $front v128) (local $back v128) ;; its two halves
    (local $frontQuotes v128) (local $frontBackslashes v128) (local $frontControls v128) (local $frontClasses v128)
    (local $backQuotes v128) (local $backBackslashes v128) (local $backControls v128) (local $backClasses v128)
    (local $backslashes i64)
    (local $activeBackslashes i64) ;; all but one that the block before has escaped
    (local $escaped i64) ;; bytes behind a backslash that is not escaped itself
    (local $nextEscaped i64) ;; 1 when that is the first byte of the next block
    (local $unusual i64) ;; escaped bytes that are no whole escape: the `u` of `\uXXXX`, and what is wrong
    (local $u i64)
    (local $digits i64) ;; bytes that have to be hexadecimal digits
    (local $stops i64)
    (local $starts i64) ;; bytes that begin a character or an escape: of the block before (lower half) and of this one
    (local $upToStop i64)

    ;; A control character stops the scan behind the text, also within an escape.
    (v128.store (local.get $length) (v128.const i64x2 0 0))
    (v128.store offset=16 (local.get $length) (v128.const i64x2 0 0))

    (loop $blocks
      (local.set $front (v128.load (local.get $block)))
      (local.set $back (v128.load offset=16 (local.get $block)))
      (local.set $frontQuotes (i8x16.eq (local.get $front) (i8x16.splat (i32.const 0x22))))
      (local.set $backQuotes (i8x16.eq (local.get $back) (i8x16.splat (i32.const 0x22))))
      (local.set $frontBackslashes (i8x16.eq (local.get $front) (i8x16.splat (i32.const 0x5c))))
      (local.set $backBackslashes (i8x16.eq (local.get $back) (i8x16.splat (i32.const 0x5c))))
      (local.set $frontControls (i8x16.le_u (local.get $front) (i8x16.splat (i32.const 0x1f))))
      (local.set $backControls (i8x16.le_u (local.get $back) (i8x16.splat (i32.const 0x1f))))

      ;; Most text is plain: nothing more to do for a block of it, unless an escape goes on in it.
      (if
        (i32.eqz
          (v128.any_true
            (v128.or
              (v128.or
                (v128.or (local.get $frontQuotes) (local.get $backQuotes))
                (v128.or (local.get $frontBackslashes) (local.get $backBackslashes)))
              (v128.or (local.get $frontControls) (local.get $backControls)))))
        (then
          (if (i64.eqz (i64.or (local.get $nextEscaped) (i64.shr_u (local.get $digits) (i64.const 32))))
            (then
              (local.set $starts (i64.const -1))
              (local.set $block (i32.add (local.get $block) (i32.const 32)))
              (br $blocks)))))

      (local.set $backslashes
        (i64.or
          (i64.extend_i32_u (i8x16.bitmask (local.get $frontBackslashes)))
          (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $backBackslashes))) (i64.const 16))))

      ;; In a run of backslashes every other one is escaped. Subtracting a run from the odd bits and those behind its
      ;; backslashes borrows through the run, in another way where it starts at an odd bit than at an even one: what
      ;; differs from the odd bits then are the backslashes that escape, and the bytes at the ends of odd runs.
      (local.set $activeBackslashes
        (i64.and (local.get $backslashes) (i64.xor (local.get $nextEscaped) (i64.const -1))))
      (local.set $escaped
        (i64.xor
          (i64.xor
            (i64.sub
              (i64.or
                (i64.shl (local.get $activeBackslashes) (i64.const 1))
                (i64.const 0xaaaaaaaaaaaaaaaa))
              (local.get $activeBackslashes))
            (i64.const 0xaaaaaaaaaaaaaaaa))
          (i64.or (local.get $backslashes) (local.get $nextEscaped))))
      (local.set $nextEscaped (i64.shr_u (local.get $escaped) (i64.const 32)))
      (local.set $escaped (i64.and (local.get $escaped) (i64.const 0xffffffff)))

      ;; Looked up are the classes that the low half of a byte allows, and those that its high half allows:
      ;;   0x01 digits   0x02 A-F a-f   and, as escapes:   0x10 " /   0x20 \   0x40 b f n   0x80 r t
      (local.set $frontClasses
        (v128.and
          (i8x16.swizzle
            (v128.const i8x16 0x01 0x03 0xd3 0x03 0x83 0x03 0x43 0x01 0x01 0x01 0 0 0x20 0 0x40 0x10)
            (v128.and (local.get $front) (i8x16.splat (i32.const 0x0f))))
          (i8x16.swizzle
            (v128.const i8x16 0 0 0x10 0x01 0x02 0x20 0x42 0x80 0 0 0 0 0 0 0 0)
            (i8x16.shr_u (local.get $front) (i32.const 4)))))
      (local.set $backClasses
        (v128.and
          (i8x16.swizzle
            (v128.const i8x16 0x01 0x03 0xd3 0x03 0x83 0x03 0x43 0x01 0x01 0x01 0 0 0x20 0 0x40 0x10)
            (v128.and (local.get $back) (i8x16.splat (i32.const 0x0f))))
          (i8x16.swizzle
            (v128.const i8x16 0 0 0x10 0x01 0x02 0x20 0x42 0x80 0 0 0 0 0 0 0 0)
            (i8x16.shr_u (local.get $back) (i32.const 4)))))
      (local.set $unusual
        (i64.and
          (local.get $escaped)
          (i64.xor
            (i64.or
              (i64.extend_i32_u
                (i8x16.bitmask (i8x16.ge_u (local.get $frontClasses) (i8x16.splat (i32.const 0x10)))))
              (i64.shl
                (i64.extend_i32_u
                  (i8x16.bitmask (i8x16.ge_u (local.get $backClasses) (i8x16.splat (i32.const 0x10)))))
                (i64.const 16)))
            (i64.const -1))))

      ;; Quotes that are not escaped, and control characters.
      (local.set $stops
        (i64.or
          (i64.and
            (i64.or
              (i64.extend_i32_u (i8x16.bitmask (local.get $frontQuotes)))
              (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $backQuotes))) (i64.const 16)))
            (i64.xor (local.get $escaped) (i64.const -1)))
          (i64.or
            (i64.extend_i32_u (i8x16.bitmask (local.get $frontControls)))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $backControls))) (i64.const 16)))))

      (local.set $digits (i64.shr_u (local.get $digits) (i64.const 32)))
      (if (i64.ne (i64.or (local.get $unusual) (local.get $digits)) (i64.const 0))
        (then
          (local.set $u
            (i64.and
              (local.get $unusual)
              (i64.or
                (i64.extend_i32_u
                  (i8x16.bitmask (i8x16.eq (local.get $front) (i8x16.splat (i32.const 0x75)))))
                (i64.shl
                  (i64.extend_i32_u
                    (i8x16.bitmask (i8x16.eq (local.get $back) (i8x16.splat (i32.const 0x75)))))
                  (i64.const 16)))))
          (local.set $digits
            (i64.or
              (local.get $digits)
              (i64.or
                (i64.or (i64.shl (local.get $u) (i64.const 1)) (i64.shl (local.get $u) (i64.const 2)))
                (i64.or (i64.shl (local.get $u) (i64.const 3)) (i64.shl (local.get $u) (i64.const 4))))))
          ;; Escapes that there are not, and what should be a digit and is none.
          (local.set $stops
            (i64.or
              (i64.or (local.get $stops) (i64.xor (local.get $unusual) (local.get $u)))
              (i64.and
                (i64.and (local.get $digits) (i64.const 0xffffffff))
                (i64.xor
                  (i64.or
                    (i64.extend_i32_u
                      (i8x16.bitmask
                        (i8x16.ne
                          (v128.and (local.get $frontClasses) (i8x16.splat (i32.const 0x03)))
                          (v128.const i64x2 0 0))))
                    (i64.shl
                      (i64.extend_i32_u
                        (i8x16.bitmask
                          (i8x16.ne
                            (v128.and (local.get $backClasses) (i8x16.splat (i32.const 0x03)))
                            (v128.const i64x2 0 0))))
                      (i64.const 16)))
                  (i64.const -1)))))))

      (local.set $starts
        (i64.or
          (i64.shr_u (local.get $starts) (i64.const 32))
          (i64.shl
            (i64.xor (i64.or (local.get $escaped) (local.get $digits)) (i64.const -1))
            (i64.const 32))))
      (if (i64.eqz (local.get $stops))
        (then
          (local.set $block (i32.add (local.get $block) (i32.const 32)))
          (br $blocks))))

    ;; The last start up to the first stop; it is in the block before when the stop is within an escape from there.
    (local.set $upToStop (i64.xor (local.get $stops) (i64.sub (local.get $stops) (i64.const 1))))
    (local.set $starts
      (i64.and
        (local.get $starts)
        (i64.or (i64.shl (local.get $upToStop) (i64.const 32)) (i64.const 0xffffffff))))
    (i32.sub
      (i32.add (local.get $block) (i32.const 31))
      (i32.wrap_i64 (i64.clz (local.get $starts))))))
