#!/bin/sh
# Does a model beat looking up the nearest training shape, on shapes and kinds of shapes that it never saw?
# Generated shapes of 40 kinds (or --furniture: all real models of examples/furniture.sh) are split by seed into training
# shapes, held-out instances of the same kinds, and held-out kinds. Two models see new pictures of each: that of all
# training shapes 1, 4 and 8, that of only 20 of them 4. Their meshes are judged beside the mean shape, retrieval, and the
# nearest training shape.
#   sh examples/generalise.sh [--size tiny|small] [--furniture] [FOLDER]
# small: 45 minutes of one core, 90 by the clock beside other work.
# tiny: three minutes, to see that all of it runs; its figures mean nothing.
work=generalise options="--size --furniture"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
# Shapes, of how many kinds; steps of the two decoders and denoisers; shapes judged of a set; points a mesh is judged by.
case $size in
tiny) count=24 kinds=6 few=4 decoder=150 few_decoder=150 denoiser=150 judged=4 points=10000 views="1 4" ;;
small) count=400 kinds=40 few=20 decoder=8000 few_decoder=3000 denoiser=3000 judged=30 points=100000 views="1 4 8" ;;
esac

if [ "$furniture" ]; then
    [ -d raw ] || python "$root/examples/furniture.py" --all -o .
    [ -e manifest.json ] || sdfkit manifest raw/ --csv furniture.csv -o manifest.json
    sdfkit watertight raw/ --manifest manifest.json -o meshes/
else
    set -- airplane chair bottle table car lamp bird sofa mug horse armchair anchor axe bed bench bookshelf bowl bus \
        cabinet cactus cat chess_piece desk dog elephant fish goblet guitar hammer house jug mushroom rabbit rocket \
        stool teapot train tree vase wine_glass
    chosen=
    while [ $# -gt $((40 - kinds)) ]; do chosen="$chosen --category $1" && shift; done
    # shellcheck disable=SC2086  # a list of options
    sdfkit shapes $chosen --count "$count" --seed 1 --format ply -o meshes/
    [ -e manifest.json ] || sdfkit manifest meshes/ -o manifest.json
fi
# split/all and split/few to train on; split/judged: recalled, instances and kinds.
python "$root/examples/generalise.py" split manifest.json meshes/ --few "$few" --judged "$judged" -o split/

embed() { sdfkit embed --model efficientnet-lite0 "$@"; }
mkdir -p reports
for model in few all; do
    steps=$decoder seen_by=$views
    [ "$model" = all ] || steps=$few_decoder seen_by=4
    store() { echo "$model.$1.zarr"; }
    whole "$(store samples)" || sdfkit sample-sdf "split/$model/" --points 100000 -o "$(store samples)"
    whole "$(store features)" || sdfkit render "split/$model/" --views 24 | embed -o "$(store features)"
    whole "$(store deepsdf)" || sdfkit train-deepsdf "$(store samples)" --steps "$steps" --code-std 0.01 -o "$(store deepsdf)"
    whole "$(store dit)" || sdfkit train-dit "$(store features)" --codes "$(store deepsdf)" --steps "$denoiser" -o "$(store dit)"
    for seen in $seen_by; do
        name=$model.$seen
        whole "$seen.features.zarr" || sdfkit render split/judged/ --views "$seen" | embed -o "$seen.features.zarr"
        [ -e "reports/$name.json" ] || {
            # A prediction without a surface scores 0.
            sdfkit predict "$(store dit)" "$seen.features.zarr" |
                sdfkit mesh --decoder "$(store deepsdf)" -o "$name.meshes/" || [ $? -eq 4 ]
            sdfkit compare "$name.meshes/" split/judged/ --training "split/$model/" --features "$seen.features.zarr" \
                --training-features "$(store features)" --points "$points" --json >"$name.part"
            mv "$name.part" "reports/$name.json"
        }
    done
done
python "$root/examples/generalise.py" table split/ reports/*.json | tee table.md
rm -rf retrieved
python "$root/examples/generalise.py" retrieved split/ reports/all.4.json -o retrieved/
python "$root/examples/contact_sheet.py" split/instances/ all.4.meshes/ retrieved/ -o picture.png

echo
echo "Table:   $PWD/table.md"
echo "Picture: $PWD/picture.png (held-out instances: the shape, the model's answer to four pictures, retrieval's)"
