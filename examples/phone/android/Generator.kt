package com.example.generator

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import java.security.MessageDigest
import kotlin.math.abs
import org.json.JSONObject

/**
 * A generator that `examples/export_to_phone.py` wrote: pictures as bytes R G B, row by row, in and out.
 *
 * Both files lie in the app's assets. It is made only if the model is the file that its manifest speaks of, and gives
 * the values of the golden pair on this phone; otherwise the constructor throws, and the app must not use it.
 */
class Generator(context: Context, file: String) : AutoCloseable {
    private val manifest = JSONObject(context.assets.open("$file.manifest.json").bufferedReader().use { it.readText() })
    private val model: CompiledModel
    val height: Int
    val width: Int

    init {
        val bytes = context.assets.open(file).use { it.readBytes() }
        val digest = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
        check(digest == manifest.getString("sha256")) { "$file is not the file that its manifest was written for." }
        val input = only(manifest.getJSONObject("signatures").getJSONObject("serving_default").getJSONObject("inputs"))
        check(input.getString("dtype") == "uint8") { "$file takes floats: export it without --floats." }
        val shape = only(manifest.getJSONObject("golden").getJSONObject("inputs")).getJSONArray("shape")
        height = shape.getInt(1)
        width = shape.getInt(2)
        model = CompiledModel.create(context.assets, file, CompiledModel.Options(Accelerator.CPU))
        try {
            prove(file, height * width * shape.getInt(3))
        } catch (error: Throwable) {
            model.close()
            throw error
        }
    }

    /** Returns the translation of a picture of height × width pixels, as bytes. */
    fun run(picture: ByteArray): ByteArray {
        val inputs = model.createInputBuffers()
        val outputs = model.createOutputBuffers()
        try {
            inputs[0].writeInt8(picture)
            model.run(inputs, outputs)
            return outputs[0].readInt8()
        } finally {
            (inputs + outputs).forEach { it.close() }
        }
    }

    override fun close() = model.close()

    /** Throws unless the golden input gives the golden values. */
    private fun prove(file: String, count: Int) {
        val golden = only(manifest.getJSONObject("golden").getJSONObject("outputs"))
        val positions = golden.getJSONArray("positions")
        val values = golden.getJSONArray("values")
        val found = run(goldenInput(count))
        val off = (0 until positions.length()).map {
            abs((found[positions.getInt(it)].toInt() and 0xFF) - values.getInt(it))
        }
        // What is rounded is some levels off in places; swapped channels or strides are tens off everywhere.
        val passed = if (manifest.getString("variant") == "float32") off.max() <= 1 else off.average() <= 12
        check(passed) { "$file differs from Keras by up to ${off.max()} levels on this phone: don't use it." }
    }

    private fun only(named: JSONObject) = named.getJSONObject(named.keys().next())

    companion object {
        /** The manifest's rule: floor(256 u), u being the place times 2654435761 modulo 2^32, divided by 2^32. */
        fun goldenInput(count: Int) = ByteArray(count) { ((it * 2654435761L and 0xFFFFFFFFL) shr 24).toByte() }
    }
}
