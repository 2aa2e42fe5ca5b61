package com.example.generator

import java.security.MessageDigest
import kotlin.math.abs
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** A model in a runtime: the bytes of a picture in, those of its translation out. */
interface PictureModel : AutoCloseable {
    fun run(picture: ByteArray): ByteArray
}

/**
 * A generator that `kerasgen export` wrote: pictures as bytes R G B, row by row, in and out.
 *
 * It is made only if the model is the file that its manifest speaks of, and gives the values of the golden pair on
 * this device; otherwise the constructor throws, and the app must not use it. `open` is called with the shape of a
 * picture, [1, height, width, channels], and puts the file into a runtime: LiteRtModel.kt and OnnxModel.kt do that.
 */
class Generator(private val name: String, file: ByteArray, manifest: String, open: (LongArray) -> PictureModel) :
    AutoCloseable {
    private val told = Json.parseToJsonElement(manifest).jsonObject
    private val model: PictureModel
    val height: Int
    val width: Int
    val channels: Int

    init {
        val digest = MessageDigest.getInstance("SHA-256").digest(file).joinToString("") { "%02x".format(it) }
        check(digest == text(told, "sha256")) { "$name is not the file that its manifest was written for." }
        val signature = told["signatures"]?.jsonObject?.get("serving_default")?.jsonObject
        val described = only(signature?.get("inputs"))
        check(text(described, "dtype") == "uint8") { "$name takes no bytes: export it without --floats." }
        val golden = told["golden"]?.jsonObject
        val shape = numbers(only(golden?.get("inputs")), "shape")
        check(shape.size == 4 && shape[0] == 1) { "$name takes $shape: export it for one picture at a time." }
        height = shape[1]
        width = shape[2]
        channels = shape[3]
        model = open(LongArray(4) { shape[it].toLong() })
        try {
            prove(only(golden?.get("outputs")))
        } catch (error: Throwable) {
            model.close()
            throw error
        }
    }

    /** Returns the translation of a picture of height × width pixels, as bytes. */
    fun run(picture: ByteArray): ByteArray {
        require(picture.size == height * width * channels) {
            "The picture has ${picture.size} bytes, but $name takes $height × $width pixels of $channels bytes."
        }
        return model.run(picture)
    }

    override fun close() = model.close()

    /** Throws unless the golden input gives the golden values. */
    private fun prove(golden: JsonObject) {
        val found = run(goldenInput(height * width * channels))
        val off = numbers(golden, "positions").zip(numbers(golden, "values")) { position, value ->
            abs((found[position].toInt() and 0xFF) - value)
        }
        // What is rounded is some levels off in places; swapped channels or strides are tens off everywhere.
        val passed = if (text(told, "variant") == "float32") off.max() <= 1 else off.average() <= 12
        check(passed) { "$name differs from Keras by up to ${off.max()} levels on this device: don't use it." }
    }

    private fun only(named: JsonElement?): JsonObject =
        named?.jsonObject?.values?.singleOrNull()?.jsonObject
            ?: error("The manifest of $name doesn't tell of one picture in and one out: export the generator alone.")

    private fun text(of: JsonObject, key: String): String = of[key]?.jsonPrimitive?.content ?: missing(key)

    private fun numbers(of: JsonObject, key: String): List<Int> =
        of[key]?.jsonArray?.map { it.jsonPrimitive.int } ?: missing(key)

    private fun missing(key: String): Nothing = error("The manifest of $name lacks $key: export the generator again.")

    companion object {
        /** The manifest's rule: floor(256 u), u being the place times 2654435761 modulo 2^32, divided by 2^32. */
        fun goldenInput(count: Int) = ByteArray(count) { ((it * 2654435761L and 0xFFFFFFFFL) shr 24).toByte() }
    }
}
